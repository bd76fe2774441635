"""How well the integer program does what the float network does, on the user's data."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeserve.importing.data.labels import Labels
from spikeserve.importing.dynamics.interpreter import Answer
from spikeserve.importing.dynamics.readout import Readout
from spikeserve.importing.network import FloatNetwork, Floats, Neurons
from spikeserve.models.inference import Trace
from spikeserve.training.evaluate import CONFIDENCE_Z, accuracy_interval

TIED = 1e-9
"""Of the largest value: what classes may differ by that are level."""
ENOUGH_INPUTS = 200

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Truth:
    """What the float network says, ``[T, N]``: its classes, and where the first ones are level."""

    classes: NDArray[np.int64]
    tied: Bools

    @classmethod
    def of(cls, answer: Answer, readout: Readout) -> Truth:
        sums = readout.accumulated(answer.outputs)
        highest = np.partition(sums, -2, axis=2)[..., -2:]
        margin = highest[..., 1] - highest[..., 0]
        return cls(sums.argmax(axis=2), margin <= TIED * max(float(np.abs(sums).max()), 1e-300))

    def of_rows(self, rows: NDArray[np.int64]) -> Truth:
        """Of some inputs."""
        return Truth(self.classes[:, rows], self.tied[:, rows])


@dataclass(frozen=True)
class Agreement:
    """Shares of inputs of the same class."""

    last: float
    """After all timesteps."""
    overall: float
    """Over all timesteps."""
    without_ties: float
    """Over all timesteps, where the float network's classes are not level; 1 if they all are."""
    by_timestep: tuple[float, ...]
    by_timestep_without_ties: tuple[float, ...]

    @classmethod
    def of(cls, truth: Truth, classes: NDArray[np.int64]) -> Agreement:
        """Of ``classes [T, N]`` with the truth."""
        same, clear = truth.classes == classes, ~truth.tied
        decided = clear.sum(axis=1)
        return cls(
            float(same[-1].mean()),
            float(same.mean()),
            float(same[clear].mean()) if clear.any() else 1.0,
            tuple(float(value) for value in same.mean(axis=1)),
            tuple(
                float(hits / count) if count else 1.0
                for hits, count in zip((same & clear).sum(axis=1), decided, strict=True)
            ),
        )

    def lack(self, bar: Agreement) -> float:
        """By how much this is below ``bar`` over all timesteps, with ties and without."""
        with_ties = max(0.0, bar.overall - self.overall)
        return with_ties + max(0.0, bar.without_ties - self.without_ties)

    @classmethod
    def over(cls, truth: Truth, several: list[NDArray[np.int64]]) -> Agreement:
        """The average over ``several`` answers ``[T, N]``."""
        rows = np.tile(np.arange(truth.classes.shape[1]), len(several))
        return cls.of(truth.of_rows(rows), np.concatenate(several, axis=1))


@dataclass(frozen=True)
class Accuracies:
    """Of the served program and the float network after all timesteps, on labelled inputs."""

    served: float
    original: float
    interval: tuple[float, float]
    """95 % of the served accuracy."""
    difference: tuple[float, float]
    """95 % of served minus original, paired."""


def accuracies(
    labels: Labels, served: NDArray[np.int64], original: NDArray[np.int64]
) -> Accuracies:
    """From the classes ``[N]`` of both."""
    right, before = served == labels, original == labels
    return Accuracies(
        float(right.mean()),
        float(before.mean()),
        accuracy_interval(float(right.mean()), len(right)),
        paired(right, before),
    )


def paired(one: Bools, other: Bools) -> tuple[float, float]:
    """The 95 % interval of the difference of two shares of the same inputs."""
    difference = one.astype(np.float64) - other
    half = CONFIDENCE_Z * float(difference.std()) / math.sqrt(len(difference))
    mean = float(difference.mean())
    return mean - half, mean + half


def spike_ratios(trace: Trace, answer: Answer) -> Floats:
    """Spikes of each layer, as a share of the float network's, ``[L]``."""
    served, original = trace.spikes.sum(axis=(0, 1)), answer.spikes.sum(axis=(0, 1))
    ratios: Floats = served / np.maximum(original, 1)
    return ratios


def silent(network: FloatNetwork, answer: Answer) -> list[str]:
    """The layers of neurons that never fired."""
    names = [n.name for n in network.layers if isinstance(n, Neurons) and n.spiking]
    totals = answer.spikes.sum(axis=(0, 1))
    return [name for name, total in zip(names, totals, strict=True) if total == 0]
