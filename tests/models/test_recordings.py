"""Networks that take recordings: frames of counted events instead of an image."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import spikeserve
from spikeserve.models.bundle import load_bundle
from spikeserve.models.encoding import Encoding, Pixels
from spikeserve.models.engines.selection import EngineChoice, build_engine
from spikeserve.models.errors import InvalidImage, UnknownFormat
from spikeserve.models.exits import Readout, logit_sums
from spikeserve.models.inference import classify, trace
from spikeserve.models.recordings import recording
from tests.programs import recording_bundle

SHAPE = (4, 16, 16, 2)


def frames(seed: int = 0, most: int = 6) -> Pixels:
    return np.random.default_rng(seed).integers(0, most, SHAPE).astype(np.uint8)


def stored(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recording_bundle(tmp_path_factory.mktemp("recordings") / "bundle")


def test_each_timestep_sees_its_own_frame_with_counts_held_at_the_largest() -> None:
    encoding, shown = Encoding("frames", 4, 3), frames()
    for t in range(1, 5):
        expected = np.minimum(shown[t - 1], 3)
        assert (encoding.frame(shown, t) == expected).all()
        assert (encoding.frame(shown[None], t) == expected[None]).all()
        assert (encoding.frames([shown, shown], [t, 1])[0] == expected).all()


@pytest.mark.parametrize(("kind", "count"), [("frames", None), ("direct", 3), ("hybrid", 1)])
def test_counts_belong_to_frames(kind: str, count: int | None) -> None:
    with pytest.raises(ValueError, match="largest_count"):
        Encoding(kind, 4, count)  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ["event", "onnx", "torch"])
def test_every_engine_gives_a_recording_the_same_answer(folder: Path, engine: EngineChoice) -> None:
    bundle = load_bundle(folder)
    shown = np.stack([frames(seed) for seed in range(3)])
    expected = trace(build_engine(bundle, "reference"), bundle.manifest.encoding, shown)
    found = trace(build_engine(bundle, engine), bundle.manifest.encoding, shown)
    assert (found.logit_sums == expected.logit_sums).all()
    assert (found.spikes == expected.spikes).all()
    assert (found.active_pairs == expected.active_pairs).all()
    assert found.spikes.max() > 0


def test_a_bundle_nobody_calibrated_runs_to_its_end_unless_asked(folder: Path) -> None:
    model = spikeserve.load(folder)
    assert not model.manifest.exits.is_calibrated
    assert model.classify(frames()).timesteps_used == 4
    assert model.classify(frames(), threshold=1.0).timesteps_used == 1
    assert model.classify(stored(frames())).probabilities == model.classify(frames()).probabilities


def test_leaky_sums_are_a_readout_neurons_potential(folder: Path) -> None:
    bundle = load_bundle(folder)
    engine, manifest = build_engine(bundle), bundle.manifest
    shown = np.stack([frames(seed) for seed in range(5)])
    steps = trace(engine, manifest.encoding, shown)
    single = np.diff(steps.logit_sums, axis=0, prepend=0)
    leaky = trace(engine, manifest.encoding, shown, leak=0.5).logit_sums
    potential = np.zeros(single.shape[1:])
    for t, logits in enumerate(single):
        potential = 0.5 * potential + logits
        assert (leaky[t] == potential).all()
    rows = classify(engine, manifest, shown, [manifest.policy()] * 5)
    assert all((row.logit_sum == leaky[-1, index]).all() for index, row in enumerate(rows))
    readout = replace(manifest.readout, temperatures=(2.0,) * 4)
    at = np.full(5, 3)
    logits = readout.logit_scale * leaky[2] / 2.0
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = exponentials / exponentials.sum(axis=1, keepdims=True)
    assert readout.probabilities(leaky[2], at) == pytest.approx(expected)


def test_sums_without_leak_are_whole_numbers() -> None:
    logits = np.array([[[2**31 - 1]], [[2**31 - 1]]], np.int32)
    assert logit_sums(logits, None).tolist() == [[[2**31 - 1]], [[2**32 - 2]]]
    found = Readout(1.0, (1.0,)).summed(logits[0], [np.array([2**62])])
    assert found.tolist() == [[2**62 + 2**31 - 1]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (frames().astype(np.float32), "uint8"),
        (frames()[:3], r"\[3, 16, 16, 2\], this model takes \[4, 16, 16, 2\]"),
        (frames().transpose(0, 3, 1, 2), "transpose"),
        (np.array([None] * 4), "object"),
        (np.asfortranarray(frames()), "column-major"),
    ],
)
def test_other_arrays_are_refused_by_what_is_wrong(
    values: np.ndarray,
    message: str,
) -> None:
    with pytest.raises(InvalidImage, match=message):
        recording(stored(values), SHAPE)


@pytest.mark.parametrize("end", [6, 9, 40, 127, 128, 2000])
def test_files_that_end_early_are_refused(end: int) -> None:
    with pytest.raises(InvalidImage):
        recording(stored(frames())[:end], SHAPE)


def test_headers_cannot_promise_more_than_there_is() -> None:
    huge = stored(frames()).replace(b"(4, 16, 16, 2)", b"(9**9, 9**9,)  ")
    with pytest.raises(InvalidImage):
        recording(huge, SHAPE)
    with pytest.raises(InvalidImage):
        recording(stored(frames()) + b"more", SHAPE)
    with pytest.raises(UnknownFormat, match=r"\.npy"):
        recording(b"\x89PNG\r\n\x1a\n", SHAPE)
