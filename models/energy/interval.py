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
    """Multipliers of the total, and of the share that it saves of the total of all T timesteps.

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
    saved, expected = 1 - totals / totals[:, -1:], 1 - nominal / nominal[-1]
    saved[:, -1] = expected[-1] = 1  # of nothing, whatever the constants
    return _interval(totals / nominal), _interval(saved / expected)


def _interval(multipliers: Floats) -> Interval:
    low, high = np.percentile(multipliers, PERCENTILES, axis=0)
    return Interval(np.minimum(low, 1), np.maximum(high, 1))
