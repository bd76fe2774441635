from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeserve.models.bundle import Bundle
from spikeserve.models.engines.onnx import OnnxEngine
from spikeserve.models.errors import InvalidPolicy
from spikeserve.models.exits import ExitPolicy, Readout, normalised_entropy, select_exits, softmax
from spikeserve.models.inference import classify, trace

Images = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
THRESHOLDS = np.linspace(0.0, 1.0, 20)


def test_entropy_is_normalised() -> None:
    p = np.array([[0.25] * 4, [1.0, 0, 0, 0], [0.5, 0.5, 0, 0]])
    assert normalised_entropy(p) == pytest.approx([1.0, 0.0, 0.5])


def test_softmax_survives_large_logits() -> None:
    assert softmax(np.array([[1e4, 0.0]])) == pytest.approx(np.array([[1.0, 0.0]]))


@pytest.mark.parametrize("threshold", [float("nan"), -0.1, 1.1, float("inf")])
def test_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(InvalidPolicy):
        ExitPolicy(threshold, 1, 4)


@pytest.mark.parametrize(("low", "high"), [(0, 4), (3, 2), (1, 0)])
def test_limits_out_of_order_are_refused(low: int, high: int) -> None:
    with pytest.raises(InvalidPolicy):
        ExitPolicy(0.5, low, high)


def test_zero_threshold_never_exits_early_even_at_zero_entropy() -> None:
    policy = ExitPolicy(0.0, 1, 4)
    assert [policy.decide(t, 0.0) for t in (1, 2, 3, 4)] == [None, None, None, "max_timesteps"]


def test_policy_waits_for_min_timesteps() -> None:
    policy = ExitPolicy(1.0, 3, 4)
    assert [policy.decide(t, 0.1) for t in (1, 2, 3)] == [None, None, "entropy"]


@given(rows=st.integers(1, 33), seed=st.integers(0, 99))
def test_a_row_reads_out_the_same_bits_alone_and_in_a_batch(rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    readout = Readout(0.01, (1.0, 0.7, 1.3, 2.0), sharpness=3.0)
    sums, t = rng.integers(-30000, 30000, (rows, 10)), rng.integers(1, 5, rows)
    together = readout.probabilities(sums, t)
    entropies = readout.entropies(sums, t)
    for k in range(rows):
        alone = readout.probabilities(sums[k : k + 1], t[k : k + 1])
        assert np.array_equal(alone[0], together[k])
        assert readout.entropies(sums[k : k + 1], t[k : k + 1])[0] == entropies[k]


def test_sharpness_looks_past_classes_that_cannot_win() -> None:
    """Doubt between two classes stays; what is spread thinly over all others goes."""
    t = np.array([1])
    between, spread = np.array([[300, 300, 0, 0, 0]]), np.array([[300, 100, 100, 100, 100]])
    plain, sharp = Readout(0.01, (1.0,)), Readout(0.01, (1.0,), sharpness=8.0)
    assert plain.entropies(between, t) < plain.entropies(spread, t)
    assert sharp.entropies(between, t)[0] == pytest.approx(np.log(2) / np.log(5))
    assert sharp.entropies(spread, t)[0] < 0.01
    assert np.array_equal(plain.probabilities(spread, t), sharp.probabilities(spread, t))


@pytest.mark.parametrize(("low", "high"), [(1, 4), (2, 4), (1, 3), (2, 2)])
def test_real_early_exit_equals_post_hoc_selection(
    bundle: Bundle, images: Images, low: int, high: int
) -> None:
    manifest = bundle.manifest
    engine = OnnxEngine(bundle.program, bundle.graph)
    full = trace(engine, manifest.encoding, images)
    entropies = full.entropies(manifest.readout)
    seen = set()
    for threshold in [*THRESHOLDS, *np.quantile(entropies, (0.2, 0.5, 0.8))]:
        policy = ExitPolicy(float(threshold), low, high)
        rows = classify(engine, manifest, images, [policy] * len(images))
        exits = select_exits(entropies, policy)
        assert [row.t for row in rows] == exits.tolist()
        for n, row in enumerate(rows):
            assert row.logit_sum is not None
            assert np.array_equal(row.logit_sum, full.logit_sums[row.t - 1, n])
            assert row.entropies == entropies[: row.t, n].tolist()
        seen |= set(exits.tolist())
    assert {low, high} <= seen


@pytest.mark.parametrize("values", [("0.5", 1, 4), (None, 1, 4), (0.5, 1, 1.5), (0.5, "1", 4)])
def test_what_is_no_number_is_refused_as_a_policy(values: Any) -> None:
    with pytest.raises(InvalidPolicy):
        ExitPolicy(*values)
