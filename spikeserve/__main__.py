"""The command ``spikeserve``: what serves, and what brings networks of other frameworks in."""

from __future__ import annotations

import sys
from collections.abc import Sequence

IMPORTING = ("check", "import")
"""Commands of :mod:`spikeserve.importing`, which is loaded for nothing else."""


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] and arguments[0] in IMPORTING:
        from spikeserve.importing.cli import main as importing

        return importing(arguments)
    from spikeserve.service.__main__ import main as service

    return service(arguments)


if __name__ == "__main__":
    sys.exit(main())
