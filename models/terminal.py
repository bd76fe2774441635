"""What commands print arrives, whatever stdout is: of another encoding, closed, a pipe, full."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Callable

PLAIN = {
    "█": "#", "░": ":", "·": ".", "…": "~", "–": "-", "—": "-", "×": "x", "µ": "u", "⌀": "o",
    "≥": ">", "≤": "<", "→": ">", "é": "e", "“": '"', "”": '"', "’": "'",
}  # fmt: skip
"""What stands for a character that an encoding has not, one for one: tables stay straight."""
REPLACEMENT = "?"
SPIKESERVE = "spikeserve.plain"


def plain(error: UnicodeError) -> tuple[str, int]:
    """The error handler of that name: something readable for what cannot be encoded."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(PLAIN.get(character, REPLACEMENT) for character in missing), error.end


codecs.register_error(SPIKESERVE, plain)


def delivered(command: Callable[[], int], name: str) -> int:
    """Run a command that prints; its exit status, or 1 if what it printed did not arrive.

    Args:
        name: what messages to stderr begin with.
    """
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # closed by whoever started this
            setattr(sys, stream, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=SPIKESERVE)
    try:
        try:
            return command()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read it has seen enough
        _discard()
        return 1
    except OSError as error:
        _discard()
        print(f"{name}: {error}", file=sys.stderr)
        return 1


def _discard() -> None:
    """Or the interpreter would try once more to write what is left, and complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
