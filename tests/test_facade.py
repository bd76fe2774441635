"""``import spikeserve``: what it exports, what it costs, and what the three lines answer."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import FrozenInstanceError
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import spikeserve
from spikeserve.models.bundle import Bundle
from spikeserve.models.inference import classify, trace
from spikeserve.models.plans import planned
from tests.programs import TIMESTEPS

Images = NDArray[np.uint8]
CAT = Path(__file__).parents[1] / "docs" / "cat.jpg"


@pytest.fixture(scope="module")
def model(bundle_folder: Path) -> spikeserve.Model:
    return spikeserve.load(bundle_folder)


def test_exported_members() -> None:
    assert spikeserve.__all__ == [
        "AsyncSpikeServeClient",
        "BundleError",
        "Classification",
        "EngineUnavailable",
        "FakeEngine",
        "InvalidImage",
        "InvalidPolicy",
        "InvalidProfile",
        "Model",
        "ModelError",
        "SpikeServeClient",
        "SpikeServeError",
        "Trace",
        "__version__",
        "load",
    ]
    assert dir(spikeserve) == spikeserve.__all__
    for name in spikeserve.__all__:
        assert getattr(spikeserve, name) is not None
    with pytest.raises(AttributeError, match="'spikeserve' has no attribute 'laod'"):
        spikeserve.laod  # type: ignore[attr-defined]  # noqa: B018


def test_the_version_is_the_distributions() -> None:
    assert spikeserve.__version__ == version("spikeserve")


def modules_after(statement: str) -> set[str]:
    script = f"{statement}; import sys; print(*(name.split('.')[0] for name in sys.modules))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_importing_costs_nothing_and_loading_neither_torch_nor_a_server() -> None:
    everything = {"numpy", "pydantic", "PIL", "numba", "onnxruntime", "httpx"}
    servers = {"torch", "fastapi", "starlette", "uvicorn"}
    assert not modules_after("import spikeserve") & (everything | servers)
    assert not modules_after("from spikeserve import *") & servers
    assert "numba" not in modules_after("import spikeserve.service.cli")  # onnx does without


def test_three_lines() -> None:
    model = spikeserve.load("early-exit-vgg8-cifar10")
    assert model.classify(CAT).label == "cat"
    assert repr(model).startswith("<Model early-exit-vgg8-cifar10 ")


def test_answers_are_those_of_the_exit_rule(
    model: spikeserve.Model, bundle: Bundle, images: Images
) -> None:
    entropies = [answer.entropy for answer in model.classify_batch(images, max_timesteps=1)]
    threshold = float(np.median(entropies))
    policy = bundle.manifest.policy(threshold)
    rows = classify(model.engine, bundle.manifest, images, [policy] * len(images))
    answers = model.classify_batch(images, threshold=threshold)
    assert len({answer.timesteps_used for answer in answers}) > 1
    for image, row, answer in zip(images, rows, answers, strict=True):
        assert row.probabilities is not None
        assert answer.probabilities == tuple(row.probabilities)
        assert answer.index == row.probabilities.argmax()
        assert answer.label == bundle.manifest.labels[answer.index]
        assert answer.probability == max(answer.probabilities)
        assert (answer.timesteps_used, answer.stop_reason) == (row.t, row.stop_reason)
        assert (answer.entropy, answer.entropies) == (row.entropy, tuple(row.entropies))
        assert answer.energy == model.energy.estimate(row.active_pairs)
        assert answer == model.classify(image, threshold=threshold)
    with pytest.raises(FrozenInstanceError):
        answers[0].label = "dog"  # type: ignore[misc]
    assert model.classify_batch([]) == []


def test_more_images_than_are_stepped_together(model: spikeserve.Model, images: Images) -> None:
    many = [*images, *images[:3]]
    assert model.classify_batch(many) == [model.classify(image) for image in many]


def test_one_image_is_no_batch(model: spikeserve.Model, images: Images) -> None:
    for single in (str(CAT), CAT, CAT.read_bytes(), Image.fromarray(images[0]), images[0]):
        with pytest.raises(spikeserve.InvalidImage, match="one goes to classify"):
            model.classify_batch(single)  # type: ignore[arg-type]


def test_an_engine_of_another_network_is_refused(model: spikeserve.Model) -> None:
    other = planned(("8",), (8, 8, 3), 4)
    with pytest.raises(spikeserve.EngineUnavailable, match="another network"):
        spikeserve.Model(model.manifest, spikeserve.FakeEngine(other))


def test_limits(model: spikeserve.Model, images: Images) -> None:
    never = model.classify(images[0], threshold=0)
    assert (never.timesteps_used, never.stop_reason) == (TIMESTEPS, "max_timesteps")
    assert model.classify(images[0], threshold=0, max_timesteps=2).timesteps_used == 2
    assert model.classify(images[0], threshold=1, min_timesteps=3).timesteps_used == 3


@pytest.mark.parametrize(
    "limits",
    [
        {"threshold": 1.5},
        {"threshold": float("nan")},
        {"min_timesteps": 0},
        {"max_timesteps": TIMESTEPS + 1},
        {"min_timesteps": 3, "max_timesteps": 2},
    ],
)
def test_limits_out_of_range_are_refused_before_the_image_is_read(
    model: spikeserve.Model, limits: dict[str, float]
) -> None:
    with pytest.raises(spikeserve.InvalidPolicy):
        model.classify("nowhere.jpg", **limits)  # type: ignore[arg-type]


def test_a_trace_runs_to_the_end(model: spikeserve.Model, bundle: Bundle, images: Images) -> None:
    found = model.trace(images[0])
    full = trace(model.engine, bundle.manifest.encoding, images[:1])
    assert np.array_equal(found.logit_sums, full.logit_sums[:, 0])
    assert np.array_equal(found.active_pairs, full.active_pairs[:, 0])
    assert np.array_equal(found.spikes, full.spikes[:, 0])
    static = model.classify(images[0], threshold=0)
    assert tuple(found.entropies) == static.entropies
    assert tuple(found.probabilities[-1]) == static.probabilities
    assert found.probabilities.shape == (TIMESTEPS, len(static.probabilities))


def test_spike_maps_add_up_to_a_trace(model: spikeserve.Model, images: Images) -> None:
    shown = list(model.spike_maps(images[0]))
    encoding, counted = model.manifest.encoding, model.trace(images[0]).spikes
    for t, (one, spikes) in enumerate(zip(shown, counted, strict=True), 1):
        assert np.array_equal(one.frame, encoding.frame(images[:1], t)[0])
        assert [fired.sum() for fired in one.spikes] == spikes.tolist()
    with pytest.raises(spikeserve.InvalidImage):
        model.spike_maps(b"no image")  # told at once, not at the first timestep
    bare = spikeserve.Model(model.manifest, model.engine)
    with pytest.raises(spikeserve.EngineUnavailable, match=r"spikeserve\.load"):
        bare.spike_maps(images[0])


def test_what_cannot_be_loaded_says_why(bundle_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(spikeserve.BundleError, match=r"shipped bundle.*early-exit-vgg8-cifar10"):
        spikeserve.load("vgg8")
    with pytest.raises(spikeserve.BundleError, match=r"manifest\.json cannot be read"):
        spikeserve.load(Path("early-exit-vgg8-cifar10"))
    with pytest.raises(spikeserve.BundleError, match=r"manifest\.json"):
        spikeserve.load(tmp_path)
    with pytest.raises(spikeserve.EngineUnavailable, match="no engine 'abacus'"):
        spikeserve.load(bundle_folder, engine="abacus")  # type: ignore[arg-type]
    with pytest.raises(spikeserve.InvalidProfile):
        spikeserve.load(bundle_folder, engine="reference", energy_profile="none")


def test_a_model_of_scripted_answers(bundle: Bundle, images: Images) -> None:
    """How somebody tests what stands around a model."""
    manifest = bundle.manifest
    sure = [0] * manifest.network.classes
    sure[7] = 10**6
    engine = spikeserve.FakeEngine(manifest.network, [[0] * len(sure), sure])
    answer = spikeserve.Model(manifest, engine).classify(images[0])
    assert (answer.index, answer.timesteps_used, answer.stop_reason) == (7, 2, "entropy")


def test_the_page_on_python_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = CAT.with_name("PYTHON.md")
    blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    monkeypatch.chdir(page.parent)
    exec("\n".join(blocks), {})
    assert capsys.readouterr().out.startswith("cat 0.98")


def test_what_is_no_image_or_no_bundle_is_refused_by_the_projects_own_errors(
    model: spikeserve.Model,
) -> None:
    with pytest.raises(spikeserve.InvalidImage, match="pixels"):
        model.classify(Image.new("RGB", (0, 5)))
    with pytest.raises(spikeserve.InvalidImage, match="several"):
        model.classify_batch("cat.jpg")
    with pytest.raises(spikeserve.BundleError, match="neither"):
        spikeserve.load("x" * 5000)
