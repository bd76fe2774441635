"""What the shipped bundles can do, beside what the papers report: docs/RESULTS.md."""
