"""Early exit of an imported network: half of the labelled inputs choose, the others measure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeserve.importing.data.labels import Labels
from spikeserve.importing.integers.widen import Measured
from spikeserve.importing.result.sheet import TOLERANCE, EarlyExit
from spikeserve.models.exits import Readout
from spikeserve.models.inference import Trace
from spikeserve.models.manifest import Exits
from spikeserve.training.calibrate import calibrated, exit_point

SEED = 24
LEAST_LABELLED = 40
"""Fewer inputs calibrate nothing."""


@dataclass(frozen=True)
class Calibrated:
    """The exit rule, what it gives on the other half, and that half."""

    exits: Exits
    early: EarlyExit
    trace: Trace
    labels: Labels


def calibrated_halves(found: Measured, labels: Labels) -> Calibrated:
    """Choose the exit rule on one half of the inputs and measure it on the other."""
    one, other = halves(labels)
    scale = found.rounded.program.logit_scale
    leak = found.rounded.readout.served_leak
    exits = calibrated(part(found.trace, one), labels[one], scale, TOLERANCE, leak)
    rest, right = part(found.trace, other), labels[other]
    readout = Readout(scale, exits.temperatures, exits.sharpness, leak)
    threshold = cautious(
        part(found.trace, one), readout, labels[one], exits.default_entropy_threshold or 0.0
    )
    exits = exits.model_copy(update={"default_entropy_threshold": threshold})
    point, _ = exit_point(rest, rest.entropies(readout), right, threshold)
    fixed = math.ceil(point.average_timesteps - 1e-9)
    by_timestep = (rest.predictions == right).mean(axis=1)
    early = EarlyExit(
        accuracy=point.accuracy,
        average_timesteps=point.average_timesteps,
        threshold=threshold,
        fixed=float(by_timestep[fixed - 1]),
        fixed_timesteps=fixed,
        static=float(by_timestep[-1]),
        calibrated_on=len(one),
        measured_on=len(other),
    )
    return Calibrated(exits, early, rest, right)


def cautious(trace: Trace, readout: Readout, labels: Labels, threshold: float) -> float:
    """The highest threshold, up to ``threshold``, whose loss against all timesteps is within the
    tolerance even where it is a standard error above what these inputs show: few inputs would
    choose what loses several points on others."""
    entropies, rows = trace.entropies(readout), np.arange(len(labels))
    right = trace.predictions == labels
    for k in range(round(1000 * threshold), 0, -1):
        _, exits = exit_point(trace, entropies, labels, k / 1000)
        lost = right[-1].astype(float) - right[exits - 1, rows]
        if lost.mean() + lost.std() / math.sqrt(len(lost)) <= TOLERANCE:
            return k / 1000
    return 0.0


def halves(labels: Labels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of two halves at random, each class in both where it has two inputs."""
    order = np.random.default_rng(SEED).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    return np.sort(order[::2]), np.sort(order[1::2])


def part(trace: Trace, rows: NDArray[np.int64]) -> Trace:
    """The trace of some inputs."""
    return Trace(trace.logit_sums[:, rows], trace.active_pairs[:, rows], trace.spikes[:, rows])
