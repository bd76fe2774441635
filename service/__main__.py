"""The command ``spikeserve``; ``python -m spikeserve.service`` is ``spikeserve serve``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext

from spikeserve.service.processes.signals import before_serving

# Numpy's products are for maps of streams, beside the engine: on every core they would stand in
# its way, and take several times as long where cores are busy. Read when numpy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    # Before the imports, which take a second.
    with before_serving() if arguments[:1] == ["serve"] else nullcontext():
        from spikeserve.service.cli import main as command

        return command(arguments)


if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))
