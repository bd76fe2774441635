"""The service, in each of its processes on an engine that an unlucky image makes hang."""

from __future__ import annotations

import sys
from typing import Any

from spikeserve.models.engines.contract import Engine
from spikeserve.models.engines.selection import build_engine
from spikeserve.service import registry
from tests.load.engines import Stuck


def stuck(*arguments: Any) -> Engine:
    return Stuck(build_engine(*arguments))


vars(registry)["build_engine"] = stuck

if __name__ == "__main__":
    from spikeserve.service.__main__ import main

    sys.exit(main(["serve", *sys.argv[1:]]))
