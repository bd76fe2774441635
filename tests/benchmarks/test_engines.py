"""The comparison runs, counts what it says it counts and never invents a contender."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.ann import Ann
from benchmarks.contenders import Contender, Pixels, Unavailable, anns, spiking
from benchmarks.engines import accuracy, builds, measured, prepared, summary
from spikeserve.models.bundle import Bundle, load_bundle
from spikeserve.models.engines.selection import build_engine
from spikeserve.models.inference import classify
from spikeserve.models.layers import Layer, Linear, Shortcut
from spikeserve.models.layers.window import kernels_of
from spikeserve.models.network import Network
from spikeserve.service.images import decode_image
from spikeserve.service.settings import DEFAULT_BUNDLE
from tests.networks import layers
from tests.programs import IMAGE_SHAPE


@pytest.fixture
def images() -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (6, *IMAGE_SHAPE), np.uint8)


def test_engines_answer_as_the_service_does(bundle: Bundle, images: Pixels) -> None:
    rows = classify(
        build_engine(bundle, "reference"), bundle.manifest, images, [bundle.manifest.policy()] * 6
    )
    expected = [int(np.argmax(row.logit_sum)) for row in rows if row.logit_sum is not None]
    for engine in spiking.ENGINES:
        contender = spiking.contenders(bundle)[spiking.default_name(engine)](1)
        assert contender.predict(images).tolist() == expected


def test_every_contender_is_timed_in_every_repetition(images: Pixels) -> None:
    seen: list[str] = []

    def contender(name: str) -> Contender:
        def predict(batch: Pixels) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
            seen.append(name)
            return np.zeros(len(batch), np.int64)

        return Contender(name, "ANN", predict)

    times = measured([contender("a"), contender("b")], images, 2, 3, "")
    assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3}
    assert seen.count("a") == seen.count("b") == 3 * (1 + 3)  # one batch to warm up, three timed
    assert seen[0] == "a"
    assert seen[8] == "b"  # the next repetition starts with the other one


def test_ratios_are_taken_within_a_repetition() -> None:
    result = summary([2.0, 8.0, 3.0], [1.0, 2.0, 3.0])
    assert (result["ratio_min"], result["ratio"], result["ratio_max"]) == (1.0, 2.0, 4.0)
    assert result["ms"] == 3.0


def test_what_cannot_run_is_reported_not_guessed() -> None:
    def missing(_threads: int) -> Contender:
        raise Unavailable("no such library")

    ready, reasons = prepared({"peer": missing}, 1)
    assert ready == []
    assert reasons == {"peer": "no such library"}


def test_untrained_frameworks_have_no_accuracy(images: Pixels) -> None:
    contender = Contender(
        "x", "SNN framework", lambda batch: np.zeros(len(batch), np.int64), accurate=False
    )
    assert accuracy(contender, images, np.zeros(6)) is None


def test_the_ann_has_the_default_bundles_layers_knows_a_cat_and_its_runtimes_agree() -> None:
    manifest = load_bundle(DEFAULT_BUNDLE).manifest
    network = manifest.network
    ann = Ann.stored(network)
    assert sum(weight.size for weight in ann.weights) == network.parameters
    photos = np.random.default_rng(1).integers(0, 256, (4, *network.input_shape), np.uint8)
    cat = Path("docs/cat.jpg").read_bytes()
    photos[0] = decode_image(cat, network.input_shape, max_pixels=1_000_000)
    candidates = anns.contenders(ann, photos)
    first, second = (
        candidates[name](1).predict(photos)
        for name in ("ANN, torch float32", "ANN, ONNX Runtime float32")
    )
    assert np.array_equal(first, second)
    assert manifest.labels[first[0]] == "cat"


@given(layers=layers(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_twins_have_the_networks_geometry(layers: tuple[Layer, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = Network(layers)
    weights, biases = [], []
    for layer in network.synaptic:
        rows, channels = layer.weight_shape
        weight = rng.normal(0, rows**-0.5, (rows, channels)).astype(np.float32)
        if not isinstance(layer, Shortcut):
            weight = np.ascontiguousarray(kernels_of(weight, layer.window))
        weights.append(weight.reshape(channels, -1) if isinstance(layer, Linear) else weight)
        biases.append(rng.normal(0, 10, channels).astype(np.float32))
    twins = anns.contenders(
        Ann(network, tuple(weights), tuple(biases)), np.zeros((0, 1, 1, 1), np.uint8)
    )
    names = ("ANN, torch float32", "ANN, ONNX Runtime float32")
    if any(isinstance(layer, Shortcut) for layer in layers):
        for name in names:
            with pytest.raises(Unavailable, match="chains"):
                twins[name](1)
        return
    images = rng.integers(0, 256, (3, *network.input_shape), np.uint8)
    first, second = (twins[name](1).predict(images) for name in names)
    assert np.array_equal(first, second)


def test_the_default_comparison_names_every_peer() -> None:
    bundle = load_bundle(DEFAULT_BUNDLE)
    names = list(builds(bundle, np.zeros((0, 32, 32, 3), np.uint8)))
    for peer in ("torch float32", "Runtime float32", "Runtime int8", "OpenVINO int8", "snnTorch"):
        assert any(peer in name for name in names), peer
