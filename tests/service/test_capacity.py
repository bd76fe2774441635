"""Slots: enough rows to be fast, no more than that."""

from __future__ import annotations

import pytest

from spikeserve.models.bundle import Bundle
from spikeserve.models.engines.fake import FakeEngine
from spikeserve.service.capacity import measured_capacity
from tests.clock import Clock


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
    clock = Clock()
    monkeypatch.setattr("spikeserve.service.capacity.time", clock)
    engine = FakeEngine(
        bundle.manifest.network,
        before_step=lambda frames, _: clock.advance(a_step + a_row * len(frames)),
    )
    capacity = measured_capacity(engine, bundle.manifest)
    assert capacity.slots in slots
    assert [tick.rows for tick in capacity.measured] == [1, 2, 4, 8, 16, 32, 64][
        : len(capacity.measured)
    ]
