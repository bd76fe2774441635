"""Calibration on held-out training images: temperatures, exit table, default threshold.

Test images are never read here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikeserve.models.exits import ExitPolicy, Floats, Readout, select_exits
from spikeserve.models.inference import Trace
from spikeserve.models.manifest import ExitPoint, Exits
from spikeserve.training.data.dataset import Labels

THRESHOLDS = tuple(round(k / 100, 2) for k in [0, 1, 2, 5, *range(10, 100, 5), 100])
TEMPERATURE_GRID = np.geomspace(0.05, 20.0, 241)
SHARPNESSES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
WORTH_SHARPENING = 1.05
"""A sharper entropy must save this factor of average timesteps to be chosen."""


def fitted_temperatures(
    trace: Trace, labels: Labels, logit_scale: float, leak: float | None = None
) -> tuple[float, ...]:
    """For every timestep, the temperature that minimises the log-loss on the held-out images."""

    def log_loss(t: int, temperature: float) -> float:
        sums = trace.logit_sums[t - 1]
        steps = np.full(len(sums), t)
        readout = Readout(logit_scale, (temperature,) * t, leak=leak)
        right = readout.probabilities(sums, steps)[np.arange(len(sums)), labels]
        return float(-np.log(np.maximum(right, 1e-300)).mean())

    return tuple(
        round(float(min(TEMPERATURE_GRID, key=lambda value: log_loss(t, value))), 6)
        for t in range(1, len(trace.logit_sums) + 1)
    )


def exit_point(
    trace: Trace, entropies: Floats, labels: Labels, threshold: float
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

    Early exit is measured against it, since the last timestep need not be the best one.
    """
    return float(right.mean(axis=1).max())


def _curve(trace: Trace, readout: Readout, labels: Labels) -> list[ExitPoint]:
    entropies = trace.entropies(readout)
    return [exit_point(trace, entropies, labels, k / 1000)[0] for k in range(1001)]


def calibrated(
    trace: Trace,
    labels: Labels,
    logit_scale: float,
    tolerance: float,
    leak: float | None = None,
) -> Exits:
    """The exit rule of a bundle, from a run of all timesteps on held-out images.

    Args:
        tolerance: accuracy that the default threshold may lose against the best fixed number of
            timesteps, or against the best threshold, whichever is less accurate.
        leak: the readout's, where its sums leak.

    Of all thresholds within the tolerance, the default is the one with the fewest average
    timesteps. Sharpness is the lowest at which the default takes at most
    :data:`WORTH_SHARPENING` times the fewest timesteps found at any sharpness.
    """
    temperatures = fitted_temperatures(trace, labels, logit_scale, leak)
    right = trace.predictions == labels
    points = [
        (sharpness, point)
        for sharpness in SHARPNESSES
        for point in _curve(trace, Readout(logit_scale, temperatures, sharpness, leak), labels)
    ]
    reached = max(point.accuracy for _, point in points)
    wanted = min(best_fixed(right), reached) - tolerance
    enough = [(sharpness, point) for sharpness, point in points if point.accuracy >= wanted]
    fewest = min(point.average_timesteps for _, point in enough)
    sharpness = min(
        s for s, point in enough if point.average_timesteps <= WORTH_SHARPENING * fewest
    )
    default = min(
        (point for s, point in enough if s == sharpness), key=lambda point: point.average_timesteps
    )
    entropies = trace.entropies(Readout(logit_scale, temperatures, sharpness, leak))
    table = [exit_point(trace, entropies, labels, value)[0] for value in THRESHOLDS]
    return Exits(
        accumulation="mean" if leak is None else "leaky",
        readout_leak=leak,
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
