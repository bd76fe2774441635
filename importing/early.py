"""Early exit of an imported network: one half of the labelled inputs chooses, the other measures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeserve.importing.labels import Labels
from spikeserve.models.inference import Trace

SEED = 24
LEAST_LABELLED = 40
"""Fewer inputs calibrate nothing."""


@dataclass(frozen=True)
class Halves:
    """Indices of inputs that calibrate, and of those that measure."""

    calibrate: NDArray[np.int64]
    measure: NDArray[np.int64]


def halves(labels: Labels) -> Halves:
    """Two halves at random, each class in both where it has two inputs."""
    order = np.random.default_rng(SEED).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    return Halves(np.sort(order[::2]), np.sort(order[1::2]))


def part(trace: Trace, rows: NDArray[np.int64]) -> Trace:
    """The trace of some inputs."""
    return Trace(
        trace.logit_sums[:, rows], trace.active_pairs[:, rows], trace.spikes[:, rows]
    )
