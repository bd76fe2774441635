"""Modules of torch and of the frameworks on it, as graphs: the only part of importing that needs
torch. Frameworks are told by the names of classes, so that none has to be installed."""
