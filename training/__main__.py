"""``spiketrain``, also as ``python -m spikeserve.training``."""

from __future__ import annotations

import sys

from spikeserve.training.cli import main

if __name__ == "__main__":
    sys.exit(main())
