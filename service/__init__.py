"""Online serving. Imports ``models``; never ``training``, never torch."""
