"""Load-adaptive thresholds: under pressure, be sure a little sooner.

As the queue grows the effective entropy threshold rises in steps, towards the highest
one whose calibrated accuracy is within a tolerated loss of the requested threshold's; as
the queue empties it falls again, later and more slowly, so that it does not flap. Pure:
the clock is the caller's.
"""

from __future__ import annotations

from spikeserve.models.curve import Curve

LEVELS = 4
RISE_ABOVE, FALL_BELOW = 0.5, 0.1
"""Shares of the queue's capacity."""
RISE_AFTER_S, FALL_AFTER_S = 0.05, 1.0


class Brownout:
    """How far thresholds are raised, from level 0 (not at all) to ``LEVELS``."""

    def __init__(self, curve: Curve, accuracy_loss: float) -> None:
        self.level = 0
        self._curve = curve
        self._accuracy_loss = accuracy_loss
        self._bounds: dict[float, float] = {}
        self._since = 0.0
        self._was_high = self._was_low = False

    def observe(self, pressure: float, now: float) -> None:
        """Note the queue's fill ``pressure`` (0…1) at time ``now`` in seconds."""
        high, low = pressure > RISE_ABOVE, pressure < FALL_BELOW
        if (high, low) != (self._was_high, self._was_low):
            self._was_high, self._was_low, self._since = high, low, now
        elapsed = now - self._since
        if high and elapsed >= RISE_AFTER_S and self.level < LEVELS:
            self.level, self._since = self.level + 1, now
        elif low and elapsed >= FALL_AFTER_S and self.level:
            steps = int(elapsed / FALL_AFTER_S)  # nobody may have looked for a while
            self.level, self._since = max(0, self.level - steps), now

    def threshold(self, requested: float) -> float:
        """The threshold in effect for a request at the current level."""
        if not self.level or not requested:  # 0 never exits early, whatever the load
            return requested
        if requested not in self._bounds:
            if len(self._bounds) > 1000:  # clients choose the thresholds
                self._bounds.clear()
            self._bounds[requested] = self._curve.loosened(requested, self._accuracy_loss)
        return requested + (self._bounds[requested] - requested) * self.level / LEVELS
