"""The command ``spikeserve``; ``python -m spikeserve.service`` is ``spikeserve serve``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext

from spikeserve.service.processes.signals import before_serving


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    # Before the imports, which take a second.
    with before_serving() if arguments[:1] == ["serve"] else nullcontext():
        from spikeserve.service.cli import main as command

        return command(arguments)


if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))
