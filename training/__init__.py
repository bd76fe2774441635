"""Offline training: from a recipe to a bundle. Imports ``models`` and torch, never ``service``."""
