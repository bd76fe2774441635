"""Exit rules and the search for their thresholds, against brute force."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from benchmarks.results.exit_rules import (
    exits,
    global_threshold,
    oracle,
    outcome,
    scores,
    timestep_thresholds,
)
from spikeserve.models.encoding import Pixels
from spikeserve.models.exits import ExitPolicy, Readout, select_exits
from spikeserve.models.inference import Trace
from spikeserve.training.calibrate import calibrated

T, N, K = 3, 400, 4
Run = tuple[Trace, Pixels]


@pytest.fixture
def trace_and_labels() -> Run:
    """Logits that get better with time, and surer where they are right."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, K, N).astype(np.uint8)
    signal = np.eye(K)[labels] * rng.uniform(0, 260, (N, 1))
    steps = [signal + rng.normal(0, 100, (N, K)) for _ in range(T)]
    zeros = np.zeros((T, N, 1), np.int64)
    return Trace(np.round(steps).astype(np.int64).cumsum(axis=0), zeros, zeros), labels


def test_scores_are_low_where_the_network_is_sure(trace_and_labels: Run) -> None:
    trace, labels = trace_and_labels
    readout = Readout(0.02, (1.0,) * T)
    right = trace.predictions == labels
    for kind in ("entropy", "confidence", "margin"):
        score = scores(trace, readout, kind)
        assert score.shape == (T, N)
        assert 0 <= score.min() <= score.max() <= 1
        assert score[right].mean() < score[~right].mean()


def test_one_threshold_is_the_policy_of_the_server(trace_and_labels: Run) -> None:
    trace, _ = trace_and_labels
    entropies = trace.entropies(Readout(0.02, (1.0,) * T))
    threshold = float(np.median(entropies))
    served = select_exits(entropies, ExitPolicy(threshold, 1, T))
    below = np.nextafter(np.full(T - 1, threshold), 0)
    assert np.array_equal(exits(entropies, below), served)


@pytest.mark.parametrize("loss", [0.0, 0.01, 0.05])
def test_thresholds_keep_their_accuracy_and_two_beat_one(
    trace_and_labels: Run, loss: float
) -> None:
    trace, labels = trace_and_labels
    right = trace.predictions == labels
    score = scores(trace, Readout(0.02, (1.0,) * T), "margin")
    wanted = float(right[-1].mean()) - loss
    one = outcome(right, exits(score, global_threshold(score, right, wanted)))
    each = outcome(right, exits(score, timestep_thresholds(score, right, wanted)))
    assert min(one.accuracy, each.accuracy) >= wanted
    grid = np.quantile(score, np.linspace(0, 1, 41))
    found = [outcome(right, exits(score, np.array(pair))) for pair in product(grid, repeat=T - 1)]
    best = min(o.average_timesteps for o in found if o.accuracy >= wanted)
    assert each.average_timesteps <= one.average_timesteps
    assert each.average_timesteps <= best + 0.05  # what prices find lies on the convex hull
    first = np.where(right.any(axis=0), right.argmax(axis=0) + 1, T)
    assert oracle(right) == first.mean()


def test_calibration_sharpens_where_that_saves_timesteps(trace_and_labels: Run) -> None:
    trace, labels = trace_and_labels
    found = calibrated(trace, labels, 0.02, tolerance=0.01)
    readout = Readout(0.02, found.temperatures, found.sharpness)
    default = ExitPolicy(found.default_entropy_threshold or 0, 1, T)
    steps = select_exits(trace.entropies(readout), default)
    right = trace.predictions == labels
    wanted = float(right.mean(axis=1).max()) - 0.01
    assert outcome(right, steps).accuracy >= wanted
    plain = trace.entropies(Readout(0.02, found.temperatures))
    without = [outcome(right, select_exits(plain, ExitPolicy(k / 1000, 1, T))) for k in range(1001)]
    enough = [o for o in without if o.accuracy >= wanted]
    assert steps.mean() <= 1.05 * min(o.average_timesteps for o in enough)


def test_calibration_keeps_what_the_best_timestep_reaches_where_the_last_is_worse(
    trace_and_labels: Run,
) -> None:
    trace, labels = trace_and_labels
    trace.logit_sums[-1] += np.random.default_rng(1).integers(-900, 900, trace.logit_sums[-1].shape)
    right = trace.predictions == labels
    first, second, last = right.mean(axis=1)
    assert last < first < second
    found = calibrated(trace, labels, 0.02, tolerance=0.01)
    readout = Readout(0.02, found.temperatures, found.sharpness)
    default = ExitPolicy(found.default_entropy_threshold or 0, 1, T)
    served = outcome(right, select_exits(trace.entropies(readout), default))
    assert last < first < served.accuracy
    assert served.average_timesteps < T
