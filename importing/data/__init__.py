"""The user's inputs and labels, checked."""
