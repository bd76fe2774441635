"""Networks of other frameworks, from their files or modules to bundles."""
