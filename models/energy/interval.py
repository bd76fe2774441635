"""How far an estimate may be off: component constants that are known only within a range."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PERCENTILES = (5.0, 95.0)
SAMPLES = 4096


class Interval(NamedTuple):
    """Low and high multipliers after every timestep, ``[T]`` each."""

    low: Floats
    high: Floats


def intervals(spreads: Floats, parts: Floats) -> tuple[Interval, Interval]:
    """Multipliers of the total; and, of the share that it saves of the total of all T timesteps,
    of the share for its low end, of what is left of 1 for its high end: it stays within 0…1.

    Every constant varies on its own, log-uniform in ``spreads [C, 2]``; the draw is seeded, so
    that the same bundle always has the same interval. What the constants have in common
    cancels in the share. An estimate always lies in its own interval, also where a constant
    may be off in one direction only.

    Args:
        spreads: lowest and highest factor of each component's constant.
        parts: energy until the end of each timestep by component, ``[T, C]``.
    """
    logs = np.log(spreads)
    rng = np.random.default_rng(0)
    factors = np.exp(rng.uniform(logs[:, 0], logs[:, 1], (SAMPLES, len(spreads))))
    totals, nominal = factors @ parts.T, parts.sum(axis=1)  # [S, T], [T]
    low, high = np.percentile(totals / nominal, PERCENTILES, axis=0)
    left = nominal / nominal[-1]
    most_left, least_left = np.percentile(totals / totals[:, -1:], PERCENTILES[::-1], axis=0)
    saves = left < 1
    least_saved = np.divide(1 - most_left, 1 - left, out=np.ones_like(left), where=saves)
    return (
        Interval(np.minimum(low, 1), np.maximum(high, 1)),
        Interval(np.clip(least_saved, 0, 1), np.minimum(least_left / left, 1)),
    )
