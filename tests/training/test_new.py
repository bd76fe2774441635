"""From a folder of pictures to a served bundle, in two commands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spikeserve.models.bundle import load_bundle
from spikeserve.models.engines.reference import ReferenceEngine
from spikeserve.models.manifest import Provenance
from spikeserve.models.plans import planned, vgg8
from spikeserve.models.shipped import bundle_folder
from spikeserve.training import new_command
from spikeserve.training.build import SpikingNetwork
from spikeserve.training.bundle_start import set_from_bundle
from spikeserve.training.cli import main
from spikeserve.training.evaluate import accuracy_interval
from spikeserve.training.frames import FrameEncoder
from spikeserve.training.new_recipe import sensible
from spikeserve.training.recipe import load_recipe
from spikeserve.training.rehearsal import Rehearsal

BUNDLE = "hybrid-vgg8-cifar100"


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures of two classes that brightness tells apart; commands run beside them."""
    rng = np.random.default_rng(0)
    for index in range(24):
        kind = index % 2
        folder = tmp_path / "photos" / ("dark", "bright")[kind]
        folder.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(0, 80, (40, 36, 3), np.uint8) + np.uint8(150 * kind)
        Image.fromarray(noise).save(folder / f"{index}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def narrow(side: int) -> tuple[str, ...]:
    """The first layers of the bundles' plan, which train in a second."""
    return ("64", "128/2", "P", "16") if side else ()


def test_two_commands_lead_to_a_bundle(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("spikeserve.training.new_recipe.vgg8", narrow)
    monkeypatch.setattr("spikeserve.training.new_recipe.KEPT", 1)
    arguments = ["--data", str(photos), "--size", "16"]
    assert main(["new", "mine", *arguments]) == 0
    said = capsys.readouterr().out
    assert "go on: spiketrain all mine.toml" in said
    assert "training will take about" in said
    recipe, _ = load_recipe("mine.toml")
    assert recipe.stages[0].pretrained == f"bundle:{BUNDLE}"
    assert recipe.data.dataset == "mine"

    assert main(["all", "mine.toml", "--trial", "1"]) == 0
    said = capsys.readouterr().out
    assert f"starts from 2 layers of bundle:{BUNDLE}" in said
    assert "with 95 % confidence" in said
    bundle = load_bundle(Path("runs/mine-trial/bundle"))
    manifest = bundle.manifest
    assert manifest.labels == ("bright", "dark")
    assert isinstance(manifest.provenance, Provenance)
    assert manifest.provenance.dataset == "folder mine"
    assert manifest.training.pretraining[0].recipe == BUNDLE
    card = json.loads(Path("data/mine/card.json").read_text("utf-8"))
    assert manifest.provenance.dataset_sha256 == card["sha256"]
    assert manifest.evaluation is not None
    assert manifest.evaluation.images == sum(card["counts"]["test"])

    assert main(["new", "other", "--data", "mine", "--minutes", "0"]) == 0
    assert "that is longer than --minutes 0" in capsys.readouterr().out
    assert main(["new", "third", "--data", "mine", "--size", "32"]) == 1
    assert "mine is prepared already; --size is for folders" in capsys.readouterr().err
    assert main(["new", "mine", *arguments]) == 1
    assert "mine.toml exists; pass --replace" in capsys.readouterr().err
    assert (
        main(["data", "folder", str(photos), "--name", "mine", "--size", "16", "--seed", "9"]) == 0
    )
    assert main(["evaluate", "runs/mine-trial/bundle"]) == 1
    assert "another preparation of 'folder mine'" in capsys.readouterr().err
    for command in (["quantize"], ["export"], ["fit", "--resume"]):
        assert main([*command, "mine.toml", "--trial", "1"]) == 1
        assert "was trained on other pictures" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mine", "--data", "nowhere"], "neither a folder nor a data set"),
        (["mine", "--data", "photos", "--from", "nobody"], "neither a shipped bundle"),
        (["cifar10", "--data", "photos"], "published set's name"),
        (["mine", "--data", "photos", "--size", "8"], "prepare them larger"),
    ],
)
def test_what_new_cannot_do_it_says(
    photos: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert photos.is_dir()
    assert main(["new", *arguments]) == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not list(photos.parent.glob("*.toml"))


@pytest.mark.parametrize("channels", [3, 1])
def test_a_network_starts_as_the_bundle_is(channels: int) -> None:
    """As often in every layer, but for currents that meet a threshold exactly: those may round to
    either side."""
    program = load_bundle(Path(bundle_folder(BUNDLE))).program
    rng = np.random.default_rng(1)
    grey = rng.integers(0, 256, (3, 5, 5, 1), np.uint8)
    images = np.repeat(np.repeat(np.repeat(grey, 8, 1), 8, 2)[:, :32, :32], 3, 3)
    engine = ReferenceEngine(program)
    expected = engine.step(images.copy(), engine.start(3)).spikes

    torch.manual_seed(0)
    network = planned(vgg8(32), (32, 32, channels), 2)
    model = SpikingNetwork(network, 4, 1.0, normalised=True)
    table = torch.arange(256)[None].repeat(4, 1).float()
    frames = FrameEncoder(table, torch.float32)(torch.from_numpy(images[..., :channels].copy()), 1)
    assert set_from_bundle(model, program, frames) == 7
    with torch.no_grad():
        model.eval()(frames)
    neurons = [lif.in_shape[0] * lif.in_shape[1] * lif.in_shape[2] for lif in network.lifs]
    counted = [float(n.rate) * 3 * size for n, size in zip(model.neurons, neurons, strict=True)]
    assert np.allclose(counted, expected.sum(axis=0), rtol=0.06)


@pytest.mark.parametrize("side", [16, 32, 48, 64, 96, 128, 224, 500])
def test_larger_pictures_are_halved_more_often(side: int) -> None:
    network = planned(vgg8(side), (side, side, 3), 2)
    height = network.synaptic[-1].in_shape[0]
    assert 4 <= height < 8 or side < 32
    assert [layer.weight_shape for layer in network.synaptic[:-1]] == [
        layer.weight_shape for layer in planned(vgg8(32), (32, 32, 3), 2).synaptic[:-1]
    ]


def test_epochs_fit_the_minutes_that_there_are() -> None:
    plan = sensible(1000, (32, 32, 3), BUNDLE)
    reckoned = Rehearsal(20.0, (400.0, 200.0))
    kept, _ = new_command._within(plan, reckoned, 900)
    assert kept == plan
    fewer, took = new_command._within(plan, reckoned, 320)
    assert fewer.one_pass_epochs == plan.one_pass_epochs // 2
    assert took.seconds <= 320
    least, took = new_command._within(plan, reckoned, 0)
    assert (least.one_pass_epochs, least.temporal_epochs) == new_command.LEAST


@pytest.mark.parametrize("accuracy", [0.0, 0.5, 1.0])
def test_intervals_stay_within_what_is_possible(accuracy: float) -> None:
    low, high = accuracy_interval(accuracy, 10)
    assert 0 <= low <= accuracy <= high <= 1
    assert high - low > 0.2
    wider = accuracy_interval(0.843, 153)
    assert wider == pytest.approx((0.777, 0.892), abs=0.001)
