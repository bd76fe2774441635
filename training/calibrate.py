"""Calibration on held-out training images: temperatures, exit table, default threshold.

Nothing here ever sees a test image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.bundle import ExitPoint, Exits
from models.exits import ExitPolicy, Floats, Readout, select_exits
from models.inference import Trace

THRESHOLDS = tuple(round(k / 100, 2) for k in [0, 1, 2, 5, *range(10, 100, 5), 100])
TEMPERATURE_GRID = np.geomspace(0.05, 20.0, 241)
SHARPNESSES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
HARDLY_MORE = 1.01


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


def _default(
    trace: Trace, readout: Readout, labels: NDArray[np.uint8], accuracy: float
) -> ExitPoint:
    """The threshold with the fewest average timesteps that keeps ``accuracy``."""
    entropies = trace.entropies(readout)
    fine = [exit_point(trace, entropies, labels, k / 1000)[0] for k in range(1001)]
    enough = [point for point in fine if point.accuracy >= accuracy]
    return min(enough, key=lambda point: point.average_timesteps)


def calibrated(
    trace: Trace, labels: NDArray[np.uint8], logit_scale: float, tolerance: float
) -> Exits:
    """The exit rule of a bundle from a full run on held-out images.

    The default threshold is the one with the fewest average timesteps whose accuracy
    stays within ``tolerance`` of running all T; the sharpness is the lowest with which that
    takes hardly more timesteps than with any other.
    """
    temperatures = fitted_temperatures(trace, labels, logit_scale)
    by_timestep = (trace.predictions == labels).mean(axis=1)
    enough = float(by_timestep[-1]) - tolerance
    found = {
        sharpness: _default(trace, Readout(logit_scale, temperatures, sharpness), labels, enough)
        for sharpness in SHARPNESSES
    }
    fewest = min(point.average_timesteps for point in found.values())
    sharpness, default = next(
        (sharpness, point)
        for sharpness, point in found.items()
        if point.average_timesteps <= HARDLY_MORE * fewest
    )
    entropies = trace.entropies(Readout(logit_scale, temperatures, sharpness))
    table = [exit_point(trace, entropies, labels, value)[0] for value in THRESHOLDS]
    return Exits(
        temperatures=temperatures,
        sharpness=sharpness,
        default_entropy_threshold=default.entropy_threshold,
        accuracy_by_timestep=tuple(float(value) for value in by_timestep),
        table=tuple(table),
        mean_active_pairs=tuple(
            tuple(round(float(value), 1) for value in row)
            for row in trace.active_pairs.mean(axis=1)
        ),
    )
