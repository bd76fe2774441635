"""Brownout on its own: it rises with pressure, falls later, and never beyond its bound."""

from __future__ import annotations

import pytest

from spikeserve.models.curve import Curve, CurvePoint
from spikeserve.service.brownout import FALL_AFTER_S, LEVELS, RISE_AFTER_S, Brownout

CURVE = Curve(
    tuple(
        CurvePoint(threshold, accuracy, 4 - 3 * threshold, 1.0)
        for threshold, accuracy in ((0.0, 0.9), (0.2, 0.9), (0.4, 0.89), (0.6, 0.85), (1.0, 0.9))
    )
)


def test_it_rises_step_by_step_and_falls_later() -> None:
    brownout = Brownout(CURVE, accuracy_loss=0.01)
    now = 0.0
    for expected in (0, 1, 2, 3, 4, 4):
        brownout.observe(0.9, now)
        assert brownout.level == expected
        now += 2 * RISE_AFTER_S
    brownout.observe(0.3, now)
    brownout.observe(0.3, now + 100)
    assert brownout.level == LEVELS  # between the marks nothing moves
    brownout.observe(0.0, now + 100)
    assert brownout.level == LEVELS
    brownout.observe(0.0, now + 100 + FALL_AFTER_S)
    assert brownout.level == LEVELS - 1
    brownout.observe(0.0, now + 200)
    assert brownout.level == 0


def test_a_load_that_swings_does_not_make_it_flap() -> None:
    brownout = Brownout(CURVE, accuracy_loss=0.01)
    levels = []
    for tick in range(1000):
        brownout.observe(0.9 if tick % 2 else 0.0, tick * 0.04)
        levels.append(brownout.level)
    assert set(levels) == {0}


@pytest.mark.parametrize("requested", [0.0, 0.1, 0.2, 0.3, 0.4, 0.7, 1.0])
def test_thresholds_rise_within_the_tolerated_loss(requested: float) -> None:
    brownout = Brownout(CURVE, accuracy_loss=0.01)
    assert brownout.threshold(requested) == requested
    thresholds = []
    for level in range(LEVELS + 1):
        brownout.level = level
        thresholds.append(brownout.threshold(requested))
    assert thresholds == sorted(thresholds)
    # 0.6 costs too much, so what lies beyond it is never reached from below.
    bound = {0.0: 0.0, 0.1: 0.4, 0.2: 0.4, 0.3: 0.4, 0.4: 0.4, 0.7: 1.0, 1.0: 1.0}
    assert thresholds[-1] == pytest.approx(bound[requested])
