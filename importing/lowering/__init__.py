"""Graphs to float networks: every node through its rule."""
