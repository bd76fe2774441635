"""Calibration on held-out training images: temperatures, exit table, default threshold.

Nothing here ever sees a test image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikeserve.models.exits import ExitPolicy, Floats, Readout, select_exits
from spikeserve.models.inference import Trace
from spikeserve.models.manifest import ExitPoint, Exits

THRESHOLDS = tuple(round(k / 100, 2) for k in [0, 1, 2, 5, *range(10, 100, 5), 100])
TEMPERATURE_GRID = np.geomspace(0.05, 20.0, 241)
SHARPNESSES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
HARDLY_MORE = 1.05
"""Times the fewest average timesteps; to save less, entropy is not made sharper."""


def fitted_temperatures(
    trace: Trace, labels: NDArray[np.uint8], logit_scale: float
) -> tuple[float, ...]:
    """The temperature of every timestep that minimises the held-out log-loss."""

    def log_loss(t: int, temperature: float) -> float:
        sums = trace.logit_sums[t - 1]
        steps = np.full(len(sums), t)
        readout = Readout(logit_scale, (temperature,) * t)
        right = readout.probabilities(sums, steps)[np.arange(len(sums)), labels]
        return float(-np.log(np.maximum(right, 1e-300)).mean())

    return tuple(
        round(float(min(TEMPERATURE_GRID, key=lambda value: log_loss(t, value))), 6)
        for t in range(1, len(trace.logit_sums) + 1)
    )


def exit_point(
    trace: Trace, entropies: Floats, labels: NDArray[np.uint8], threshold: float
) -> tuple[ExitPoint, NDArray[np.int64]]:
    """Accuracy and average timesteps at one threshold, and every row's exit timestep ``[N]``."""
    policy = ExitPolicy(threshold, 1, len(entropies))
    exits = select_exits(entropies, policy)
    predictions = trace.predictions[exits - 1, np.arange(len(labels))]
    point = ExitPoint(
        entropy_threshold=threshold,
        accuracy=float((predictions == labels).mean()),
        average_timesteps=float(exits.mean()),
    )
    return point, exits


def best_fixed(right: NDArray[np.bool_]) -> float:
    """The accuracy of the best fixed number of timesteps, from rows ``right [T, N]``.

    What early exit has to keep: the last timestep need not be the best one.
    """
    return float(right.mean(axis=1).max())


def _curve(trace: Trace, readout: Readout, labels: NDArray[np.uint8]) -> list[ExitPoint]:
    entropies = trace.entropies(readout)
    return [exit_point(trace, entropies, labels, k / 1000)[0] for k in range(1001)]


def calibrated(
    trace: Trace, labels: NDArray[np.uint8], logit_scale: float, tolerance: float
) -> Exits:
    """The exit rule of a bundle from a full run on held-out images.

    The default threshold is the one with the fewest average timesteps whose accuracy
    stays within ``tolerance`` of the best fixed number of timesteps, or of what any threshold
    reaches where that is less; the sharpness is the lowest with which that takes hardly more
    timesteps than with any other.
    """
    temperatures = fitted_temperatures(trace, labels, logit_scale)
    right = trace.predictions == labels
    points = [
        (sharpness, point)
        for sharpness in SHARPNESSES
        for point in _curve(trace, Readout(logit_scale, temperatures, sharpness), labels)
    ]
    reached = max(point.accuracy for _, point in points)
    wanted = min(best_fixed(right), reached) - tolerance
    enough = [(sharpness, point) for sharpness, point in points if point.accuracy >= wanted]
    fewest = min(point.average_timesteps for _, point in enough)
    sharpness = min(s for s, point in enough if point.average_timesteps <= HARDLY_MORE * fewest)
    default = min(
        (point for s, point in enough if s == sharpness), key=lambda point: point.average_timesteps
    )
    entropies = trace.entropies(Readout(logit_scale, temperatures, sharpness))
    table = [exit_point(trace, entropies, labels, value)[0] for value in THRESHOLDS]
    return Exits(
        temperatures=temperatures,
        sharpness=sharpness,
        default_entropy_threshold=default.entropy_threshold,
        accuracy_by_timestep=tuple(float(value) for value in right.mean(axis=1)),
        table=tuple(table),
        mean_active_pairs=tuple(
            tuple(round(float(value), 1) for value in row)
            for row in trace.active_pairs.mean(axis=1)
        ),
    )
