"""How long one call may train: whole epochs only, and at least one."""

from __future__ import annotations

import math
import time


class TimeLimit:
    """Minutes from now on, or no limit."""

    def __init__(self, minutes: float | None) -> None:
        self._ends = math.inf if minutes is None else time.monotonic() + 60 * minutes
        self._started = time.monotonic()
        self._timesteps = 0
        self._seconds = 0.0

    def allows(self, timesteps: int) -> bool:
        """Whether an epoch over so many timesteps should end in time, going by the last one."""
        if not self._timesteps:
            return True
        expected = self._seconds * timesteps / self._timesteps
        return time.monotonic() + expected <= self._ends

    def begin(self) -> None:
        self._started = time.monotonic()

    def end(self, timesteps: int) -> None:
        """An epoch over so many timesteps has ended."""
        self._seconds, self._timesteps = time.monotonic() - self._started, timesteps
