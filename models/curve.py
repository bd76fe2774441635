"""What a model trades: accuracy against timesteps and energy, as calibrated on held-out images.

A request may ask for an outcome instead of an entropy threshold; the curve says which
threshold gives it, and what to expect. Expectations are averages over many images like
the calibration's, never promises about one image.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from spikeserve.models.energy.estimate import EnergyModel
from spikeserve.models.errors import Unreachable
from spikeserve.models.exits import ExitPolicy


@dataclass(frozen=True)
class CurvePoint:
    """What one entropy threshold gives on average."""

    entropy_threshold: float
    accuracy: float
    average_timesteps: float
    energy_pj: float


@dataclass(frozen=True)
class Curve:
    """A model's calibrated exit table, by rising threshold; empty where it is not calibrated."""

    points: tuple[CurvePoint, ...]

    @classmethod
    def of(cls, energy: EnergyModel) -> Curve:
        """The curve of a bundle on a chip; energies are those of the average row."""
        table = sorted(energy.manifest.exits.table, key=lambda point: point.entropy_threshold)
        return cls(
            tuple(
                CurvePoint(
                    point.entropy_threshold,
                    point.accuracy,
                    point.average_timesteps,
                    energy.average_pj(point.average_timesteps),
                )
                for point in table
            )
        )

    def for_accuracy(self, accuracy: float) -> CurvePoint:
        """The cheapest point that is at least this accurate.

        Raises:
            Unreachable: no point is; names the range.
        """
        enough = [point for point in self.points if point.accuracy >= accuracy]
        if not enough:
            raise self._unreachable("target_accuracy", lambda point: point.accuracy)
        return min(enough, key=lambda point: point.average_timesteps)

    def for_timesteps(self, average_timesteps: float) -> CurvePoint:
        """The most accurate point that takes at most this many timesteps on average.

        Raises:
            Unreachable: none does; names the range.
        """
        within = [point for point in self.points if point.average_timesteps <= average_timesteps]
        if not within:
            raise self._unreachable("target_timesteps", lambda point: point.average_timesteps)
        return max(within, key=lambda point: (point.accuracy, -point.average_timesteps))

    def for_energy(self, energy_pj: float) -> CurvePoint:
        """The most accurate point that costs at most this much on average.

        Raises:
            Unreachable: none does; names the range.
        """
        within = [point for point in self.points if point.energy_pj <= energy_pj]
        if not within:
            raise self._unreachable("energy_budget_pj", lambda point: point.energy_pj)
        return max(within, key=lambda point: (point.accuracy, -point.energy_pj))

    def loosened(self, entropy_threshold: float, accuracy_loss: float) -> float:
        """How far the threshold can rise before accuracy falls by more than ``accuracy_loss``."""
        if not self.points:
            return entropy_threshold
        after = self._after(entropy_threshold)
        least = self.points[max(after - 1, 0)].accuracy - accuracy_loss
        loosened = entropy_threshold
        for point in self.points[after:]:
            if point.accuracy < least:
                break
            loosened = point.entropy_threshold
        return loosened

    def at(self, entropy_threshold: float) -> CurvePoint:
        """What a threshold gives on average: between two points of the table on their line."""
        low, high, share = self._around(entropy_threshold)
        return CurvePoint(
            entropy_threshold,
            low.accuracy + share * (high.accuracy - low.accuracy),
            low.average_timesteps + share * (high.average_timesteps - low.average_timesteps),
            low.energy_pj + share * (high.energy_pj - low.energy_pj),
        )

    def expected_timesteps(self, policy: ExitPolicy) -> float:
        """Average timesteps of rows with this policy, between the limits it sets; the most that
        they may take where nothing is calibrated."""
        if not self.points:
            return policy.max_timesteps
        low, high, share = self._around(policy.entropy_threshold)
        expected = low.average_timesteps + share * (high.average_timesteps - low.average_timesteps)
        return min(max(expected, policy.min_timesteps), policy.max_timesteps)

    def _around(self, entropy_threshold: float) -> tuple[CurvePoint, CurvePoint, float]:
        """The points on both sides, and the share of the way; outside, the nearest end twice."""
        after = self._after(entropy_threshold)
        if after == 0 or after == len(self.points):
            end = self.points[min(after, len(self.points) - 1)]
            return end, end, 0.0
        low, high = self.points[after - 1], self.points[after]
        way = high.entropy_threshold - low.entropy_threshold
        return low, high, (entropy_threshold - low.entropy_threshold) / way

    def _after(self, entropy_threshold: float) -> int:
        return bisect_right(self._thresholds, entropy_threshold)

    @cached_property
    def _thresholds(self) -> list[float]:
        return [point.entropy_threshold for point in self.points]

    def _unreachable(self, name: str, of: Callable[[CurvePoint], float]) -> Unreachable:
        if not self.points:
            return Unreachable(
                f"{name} needs a calibration, which this model lacks: ask with entropy_threshold"
            )
        low, high = min(map(of, self.points)), max(map(of, self.points))
        return Unreachable(f"{name} cannot be met: the calibration reaches {low} to {high}")
