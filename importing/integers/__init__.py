"""Float networks to integer programs, and how well both agree."""
