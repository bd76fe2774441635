"""Sees when an engine hangs: a thread stuck in a timestep can only be watched from outside."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from weakref import WeakKeyDictionary

from spikeserve.service.attempts import attempted
from spikeserve.service.errors import InferenceFailed
from spikeserve.service.registry import Registry, ServedModel
from spikeserve.service.worker import Worker

logger = logging.getLogger("spikeserve")

INTERVAL_S = 1.0


async def watch(
    registry: Registry, step_timeout_seconds: float, refresh: Callable[[], None]
) -> None:
    """Look every second, whatever a look meets.

    ``refresh`` is called at every look: for gauges, which in several processes are read from
    elsewhere, and for uploads that take too long.
    """
    watchdog = Watchdog(registry, step_timeout_seconds)
    while True:
        await asyncio.sleep(watchdog.interval)
        attempted("refreshing", refresh)
        attempted("looking after the workers", watchdog.look)


class Watchdog:
    """Gives up a worker that stays in one tick, or keeps rows waiting for one, too long.

    Counts its own looks instead of subtracting clock times, so that a machine that slept
    does not look like an engine that hung.
    """

    def __init__(self, registry: Registry, step_timeout_seconds: float) -> None:
        self.interval = min(INTERVAL_S, step_timeout_seconds / 4)
        self._registry = registry
        self._step_timeout_seconds = step_timeout_seconds
        self._looks = WeakKeyDictionary[Worker, tuple[int, int]]()
        """The tick seen last, and how often."""

    def look(self) -> None:
        """To be called every ``interval`` seconds where the futures live."""
        for model in self._registry:
            attempted("looking after a worker", self._look_after, model)
            attempted("nudging a worker", model.worker.nudge)

    def _look_after(self, model: ServedModel) -> None:
        worker = model.worker
        tick, times = self._looks.get(worker, (worker.ticks, 0))
        times = times + 1 if worker.waited_for and tick == worker.ticks else 0
        self._looks[worker] = (worker.ticks, times)
        if times * self.interval > self._step_timeout_seconds and worker.healthy:
            logger.error("the %s engine of %s hangs", worker.engine.name, model.name)
            worker.give_up(InferenceFailed("the engine hangs; the log has more"))
