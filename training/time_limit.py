"""A limit on training time, in whole epochs; the first epoch is always allowed."""

from __future__ import annotations

import math
import time


class TimeLimit:
    """Minutes from now on, or no limit."""

    def __init__(self, minutes: float | None) -> None:
        self._ends = math.inf if minutes is None else time.monotonic() + 60 * minutes
        self._started = time.monotonic()
        self._work = 0.0
        self._seconds = 0.0

    def allows(self, work: float) -> bool:
        """Whether an epoch of so much ``work`` is expected to end in time.

        Work is timesteps times the share of the images; durations are in proportion to it.
        """
        if not self._work:
            return True
        expected = self._seconds * work / self._work
        return time.monotonic() + expected <= self._ends

    def begin(self) -> None:
        """Note that an epoch begins."""
        self._started = time.monotonic()

    def end(self, work: float) -> None:
        """Note that an epoch of so much ``work`` has ended."""
        self._seconds, self._work = time.monotonic() - self._started, work
