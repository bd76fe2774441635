"""Slots: enough rows to be fast, no more than that."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeserve.models.bundle import Bundle
from spikeserve.models.engines.contract import State, Step
from spikeserve.models.engines.reference import ReferenceEngine
from spikeserve.service.capacity import measured_capacity


class Paced(ReferenceEngine):
    """Takes so long a step, and so long for every row of it, on a clock of its own."""

    a_step = a_row = now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def step(self, frames: NDArray[np.uint8], state: State) -> Step:
        self.now += self.a_step + self.a_row * len(frames)
        rows = len(frames)
        return Step(
            np.zeros((rows, self.network.classes), np.int32),
            np.zeros((rows, len(self.network.synaptic)), np.int64),
            np.zeros((rows, len(self.network.lifs)), np.int64),
            state,
        )


@pytest.mark.parametrize(
    ("a_step", "a_row", "slots"),
    [(0.0, 0.02, {1}), (0.004, 0.0, {64}), (0.0, 0.1, {1})],
    ids=["rows one by one", "rows for nothing", "slower than any tick should be"],
)
def test_slots_follow_what_rows_cost(
    bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    a_step: float,
    a_row: float,
    slots: set[int],
) -> None:
    engine = Paced(bundle.program)
    monkeypatch.setattr("spikeserve.service.capacity.time", engine)
    engine.a_step, engine.a_row = a_step, a_row
    capacity = measured_capacity(engine, bundle.manifest)
    assert capacity.slots in slots
    assert [tick.rows for tick in capacity.measured] == [1, 2, 4, 8, 16, 32, 64][
        : len(capacity.measured)
    ]
