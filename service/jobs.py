"""A request's row on its way through the worker, and how its answer gets back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol

from spikeserve.models.energy.estimate import EnergyEstimate
from spikeserve.models.exits import Floats
from spikeserve.models.inference import Counts, Row
from spikeserve.service.errors import ServiceError


class Future(Protocol):
    """What asyncio's and concurrent's futures share."""

    def done(self) -> bool: ...
    def cancel(self) -> bool: ...
    def set_result(self, result: Any, /) -> None: ...
    def set_exception(self, exception: BaseException, /) -> None: ...


@dataclass(frozen=True)
class Progress:
    """What a row had shown after one timestep."""

    t: int
    probabilities: Floats  # [K]
    entropy: float
    active_pairs: tuple[Counts, ...]  # t times [L]
    spikes: int


@dataclass(eq=False)
class Job:
    """A row with what the service needs to know about it; times in seconds, monotonic.

    The worker's thread writes everything but ``cancelled``; whoever waits reads it once
    the future is done.
    """

    row: Row
    future: Future
    expected_timesteps: float = 1.0
    """By the calibration."""
    deadline: float = inf
    requested_threshold: float | None = None
    """Where brownout moved the threshold: what it was."""
    listener: Callable[[Progress], None] | None = None
    cancelled: bool = False
    error: ServiceError | None = None
    energy: EnergyEstimate[float] | None = None
    """Set before the future is done; None where the estimate failed."""
    submitted: float = 0.0
    started: float = 0.0
    finished: float = 0.0

    def progress(self) -> Progress:
        """The newest timestep, for a listener; rows replace these arrays, never change them."""
        row = self.row
        assert row.probabilities is not None
        spikes = sum(int(step.sum()) for step in row.spikes)
        return Progress(row.t, row.probabilities, row.entropy, tuple(row.active_pairs), spikes)

    def resolve(self) -> None:
        """Hand the outcome over; called where the future lives."""
        if self.future.done():  # cancelled, or given up on
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self)
