"""Exit rules beyond one entropy threshold, chosen on held-out images and compared.

A rule stops a row at the first timestep whose score is at most that timestep's threshold.
Scores are low where the network is sure. Arrays are ``[T, N]`` unless said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spikeserve.models.exits import Floats, Readout
from spikeserve.models.inference import Counts, Trace

Score = Literal["entropy", "confidence", "margin"]
Bools = NDArray[np.bool_]
SWEEPS = 8
PRICES = np.geomspace(1e-5, 1.0, 121)
"""What a timestep may cost in errors, while thresholds are searched for."""


def scores(trace: Trace, readout: Readout, kind: Score) -> Floats:
    """How unsure the accumulated output is after every timestep, ``[T, N]``.

    Normalised entropy, as sharp as ``readout`` takes it; one minus the largest probability; or
    one minus the distance between the two largest.
    """
    rows = []
    if kind == "entropy":
        return trace.entropies(readout)
    for t, sums in enumerate(trace.logit_sums, start=1):
        probabilities = readout.probabilities(sums, np.full(len(sums), t))
        second, first = np.partition(probabilities, -2, axis=1)[:, -2:].T
        rows.append(1 - first if kind == "confidence" else 1 - (first - second))
    return np.stack(rows)


def exits(score: Floats, thresholds: Floats) -> Counts:
    """Exit timesteps ``[N]`` for ``thresholds [T - 1]``; the last timestep always stops."""
    sure = np.vstack([score[:-1] <= thresholds[:, None], np.ones(score.shape[1], np.bool_)])
    first: Counts = sure.argmax(axis=0) + 1
    return first


@dataclass(frozen=True)
class Outcome:
    """What a rule gives on some images."""

    accuracy: float
    average_timesteps: float


def outcome(right: Bools, steps: Counts) -> Outcome:
    """Of rows ``right [T, N]`` that stop at ``steps [N]``."""
    hits = right[steps - 1, np.arange(len(steps))]
    return Outcome(float(hits.mean()), float(steps.mean()))


def oracle(right: Bools) -> float:
    """Average earliest correct timestep, T where none is: DT-SNN's AET."""
    first = np.where(right.any(axis=0), right.argmax(axis=0) + 1, len(right))
    return float(first.mean())


def global_threshold(score: Floats, right: Bools, accuracy: float) -> Floats:
    """The one threshold with the fewest steps that keeps ``accuracy``, repeated ``[T - 1]``."""
    candidates = np.unique(np.quantile(score[:-1], np.linspace(0, 1, 1001)))
    best, fewest = np.full(len(score) - 1, -1.0), float(len(score))
    for value in candidates:
        thresholds = np.full(len(score) - 1, value)
        found = outcome(right, exits(score, thresholds))
        if found.accuracy >= accuracy and found.average_timesteps < fewest:
            best, fewest = thresholds, found.average_timesteps
    return best


def timestep_thresholds(score: Floats, right: Bools, accuracy: float) -> Floats:
    """Thresholds ``[T - 1]`` with the fewest steps that keep ``accuracy``.

    For every price of a timestep, coordinate descent on errors + price * steps, each coordinate
    exactly: rows that arrive at a timestep, in order of their score, are cut where it is best.
    """
    best = global_threshold(score, right, accuracy)
    fewest = outcome(right, exits(score, best)).average_timesteps
    for price in PRICES:
        thresholds = best.copy()
        for _ in range(SWEEPS):
            before = thresholds.copy()
            for t in range(len(thresholds)):
                thresholds[t] = _best_cut(score, right, thresholds, t, price)
            if np.array_equal(before, thresholds):
                break
        found = outcome(right, exits(score, thresholds))
        if found.accuracy >= accuracy and found.average_timesteps < fewest:
            best, fewest = thresholds, found.average_timesteps
    return best


def _best_cut(score: Floats, right: Bools, thresholds: Floats, t: int, price: float) -> float:
    """The threshold of timestep index ``t`` with the least cost, the others kept."""
    never = thresholds.copy()
    never[t] = -1.0
    later = exits(score, never)
    arriving = np.flatnonzero(later > t + 1)  # those that no earlier timestep stops
    if not len(arriving):
        return float(thresholds[t])
    steps = later[arriving]
    stay = ~right[steps - 1, arriving] + price * steps
    leave = ~right[t, arriving] + price * (t + 1)
    order = np.argsort(score[t, arriving], kind="stable")
    ordered = score[t, arriving][order]
    saved = np.concatenate([[0.0], np.cumsum((leave - stay)[order])])
    # Rows with the same score leave together.
    possible = np.concatenate([[True], ordered[1:] > ordered[:-1], [True]])
    cut = int(np.where(possible, saved, np.inf).argmin())
    return float(ordered[cut - 1]) if cut else -1.0
