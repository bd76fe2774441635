"""Serve spiking neural networks whose inference stops as soon as it is sure."""
