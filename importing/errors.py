"""What makes an import stop; the command line prints the message."""


class ImportRefused(Exception):
    """A network, its meaning or its data cannot be imported; says why and what to do."""
