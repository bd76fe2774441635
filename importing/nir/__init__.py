"""NIR files, read without trusting them."""
