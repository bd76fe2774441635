"""A limit on training time, in whole epochs; the first epoch is always allowed."""

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
        """Whether an epoch of ``timesteps`` is expected to end in time.

        Its duration is that of the epoch before, in proportion to their timesteps.
        """
        if not self._timesteps:
            return True
        expected = self._seconds * timesteps / self._timesteps
        return time.monotonic() + expected <= self._ends

    def begin(self) -> None:
        """Note that an epoch begins."""
        self._started = time.monotonic()

    def end(self, timesteps: int) -> None:
        """Note that an epoch of ``timesteps`` has ended."""
        self._seconds, self._timesteps = time.monotonic() - self._started, timesteps
