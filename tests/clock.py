"""A clock that only tests move; it stands in for the ``time`` module where it is patched in."""

from __future__ import annotations


class Clock:
    """Seconds since nobody knows when."""

    def __init__(self) -> None:
        self.now = 1000.0

    def advance(self, seconds: float) -> None:
        self.now += seconds

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic
