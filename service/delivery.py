"""How answers get from the worker's thread to the requests that wait: all of a tick together.

One call to the event loop a tick, not one a row: every such call wakes the loop. Whatever else
is due on delivery (listeners, energy, counting) may fail without taking an answer along.
"""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

from spikeserve.models.energy.estimate import EnergyModel
from spikeserve.service.jobs import Job, Progress
from spikeserve.service.metrics import ModelMetrics
from spikeserve.service.wakeup import Call, Wakeup, run_here

logger = logging.getLogger("spikeserve")

P = ParamSpec("P")
T = TypeVar("T")
Reports = Sequence[tuple[Callable[[Progress], None], Progress]]


def attempted(what: str, call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T | None:
    """The result of a call that no answer may depend on; None where it failed, which is logged."""
    try:
        return call(*arguments, **named)
    except (Exception, CancelledError):  # CancelledError is no Exception
        logger.exception("%s failed; answers go on", what)
        return None


class Delivery:
    """Brings outcomes to where the futures live, and wakes the worker afterwards."""

    def __init__(self, energy: EnergyModel, metrics: ModelMetrics, wakeup: Wakeup) -> None:
        self.post: Call = run_here
        """Brings a function to where the futures live: ``loop.call_soon_threadsafe``."""
        self._energy = energy
        self._metrics = metrics
        self._wakeup = wakeup

    def send(self, jobs: Sequence[Job], reports: Reports = ()) -> None:
        """Resolve the futures of jobs that ended, and tell listeners of a timestep."""
        if not (jobs or reports):
            return
        try:
            self.post(self._arrive, jobs, reports)
        except RuntimeError:  # the event loop is closed: nobody is left to tell
            logger.warning("%d answers came after the service had stopped", len(jobs))

    def _arrive(self, jobs: Sequence[Job], reports: Reports) -> None:
        for listener, progress in reports:
            attempted("a listener", listener, progress)
        answered = [job for job in jobs if job.error is None and not job.cancelled]
        for job in answered:
            pairs = job.row.active_pairs
            job.energy = attempted("an energy estimate", self._energy.estimate, pairs)
        if answered:  # counted first: whoever has an answer finds it in the metrics
            attempted("counting answers", self._metrics.finished, answered)
        for job in jobs:
            attempted("answering a request", job.resolve)
        self._wakeup.wake_soon()
