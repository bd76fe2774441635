"""``python -m service`` is ``spikeserve serve``."""

import sys

from spikeserve.service.cli import main

sys.exit(main(["serve", *sys.argv[1:]]))
