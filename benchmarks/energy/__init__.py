"""The energy model against published figures, on the shipped bundles, and what it costs."""
