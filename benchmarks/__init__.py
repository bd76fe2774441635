"""Performance claims: each runs against its peers in the same process and prints a ratio."""
