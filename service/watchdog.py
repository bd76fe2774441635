"""Sees when an engine hangs: a thread stuck in a timestep can only be watched from outside."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from weakref import WeakKeyDictionary

from spikeserve.service.errors import InferenceFailed
from spikeserve.service.registry import Registry
from spikeserve.service.worker import Worker

logger = logging.getLogger("spikeserve")

INTERVAL_S = 1.0


async def watch(
    registry: Registry, step_timeout_seconds: float, refresh: Callable[[], None]
) -> None:
    """Look every second; a worker that stays in one tick longer than the timeout is given up.

    ``refresh`` is called at every look: for gauges, which in several processes are read from
    elsewhere, and for uploads that take too long.
    Counts its own looks instead of subtracting clock times, so that a machine that slept
    does not look like an engine that hung.
    """
    interval = min(INTERVAL_S, step_timeout_seconds / 4)
    looks = WeakKeyDictionary[Worker, tuple[int, int]]()  # the tick seen last, and how often
    while True:
        await asyncio.sleep(interval)
        refresh()
        for model in registry:
            worker = model.worker
            tick, times = looks.get(worker, (worker.ticks, 0))
            times = times + 1 if worker.busy and tick == worker.ticks else 0
            looks[worker] = (worker.ticks, times)
            if times * interval > step_timeout_seconds and worker.healthy:
                logger.error("the %s engine of %s hangs", worker.engine.name, model.name)
                worker.give_up(InferenceFailed("the engine hangs; the log has more"))
