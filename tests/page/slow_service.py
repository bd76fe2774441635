"""The service, on an engine that takes its time where an unlucky image is in the batch."""

from __future__ import annotations

import sys
import time
from typing import Any

from spikeserve.models.encoding import Pixels
from spikeserve.models.engines.contract import Engine, State, Step
from spikeserve.models.engines.selection import build_engine
from spikeserve.service import registry
from tests.load.engines import Faulty, unlucky

STEP_SECONDS = 0.1


class Slow(Faulty):
    def step(self, frames: Pixels, state: State) -> Step:
        if unlucky(frames).any():
            time.sleep(STEP_SECONDS)
        return super().step(frames, state)


def slow(*arguments: Any) -> Engine:
    return Slow(build_engine(*arguments))


vars(registry)["build_engine"] = slow

if __name__ == "__main__":
    from spikeserve.service.__main__ import main

    sys.exit(main(["serve", *sys.argv[1:]]))
