"""What an import makes: exits, sheet, provenance, bundle."""
