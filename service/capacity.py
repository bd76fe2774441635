"""How many rows an engine should step together on this machine: a short measurement at load."""

from __future__ import annotations

import time
from dataclasses import dataclass

from spikeserve.models.engines.contract import Engine
from spikeserve.models.inference import Row, advance
from spikeserve.models.manifest import Manifest

SIZES = (1, 2, 4, 8, 16, 32, 64)
REPETITIONS = 3
ENOUGH = 0.95
"""More rows must step faster than this share of the best, or they only wait for each other."""
TICK_COST_S = 0.0003
"""What the service adds to a tick, however many rows it steps: locks, wake-ups, metrics, and
caches that the next answers find cold. Measured as served, with 8 and 16 slots."""
LONGEST_TICK_S = 0.025
"""A row that enters, leaves or is cancelled waits for the end of the running tick."""


@dataclass(frozen=True)
class TickSize:
    """What one tick of so many rows took."""

    rows: int
    milliseconds: float


@dataclass(frozen=True)
class Capacity:
    """The chosen number of slots and what it was chosen from."""

    slots: int
    measured: tuple[TickSize, ...] = ()


def measured_capacity(engine: Engine, manifest: Manifest) -> Capacity:
    """The fewest rows that step (nearly) as many rows a second as any number does."""
    ticks: list[TickSize] = []
    for rows in SIZES:
        seconds = min(_tick_seconds(engine, manifest, rows) for _ in range(REPETITIONS))
        if ticks and seconds > LONGEST_TICK_S:
            break
        ticks.append(TickSize(rows, round(seconds * 1000, 4)))
    best = max(_pace(tick) for tick in ticks)
    slots = min(tick.rows for tick in ticks if _pace(tick) >= ENOUGH * best)
    return Capacity(slots, tuple(ticks))


def _pace(tick: TickSize) -> float:
    """Rows a second, as served."""
    return tick.rows / (tick.milliseconds / 1000 + TICK_COST_S)


def _tick_seconds(engine: Engine, manifest: Manifest, rows: int) -> float:
    policy = manifest.policy(entropy_threshold=0.0)
    batch = [Row(manifest.noise_image(), policy) for _ in range(rows)]
    state = engine.start(rows)
    started = time.perf_counter()
    advance(engine, manifest.encoding, manifest.readout, batch, state)
    return time.perf_counter() - started
