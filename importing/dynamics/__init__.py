"""What neurons do, by framework: meanings, and the float network as it runs."""
