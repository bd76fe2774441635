"""From one pass with levels to a served program whose timesteps add them up."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from spikeserve.models.bundle import load_bundle
from spikeserve.models.engines.reference import ReferenceEngine
from spikeserve.models.layers import Lif
from spikeserve.models.network import Network
from spikeserve.models.plans import planned
from spikeserve.training.build import SpikingNetwork, folded
from spikeserve.training.cli import main
from spikeserve.training.drive import FloatDrive
from spikeserve.training.errors import RecipeError, TrainingError
from spikeserve.training.losses import consistency
from spikeserve.training.neurons import clipped_relu, halved_relu, lif
from spikeserve.training.quantize import quantised
from spikeserve.training.recipe import load_recipe
from spikeserve.training.teacher.network import Teacher
from spikeserve.training.teacher.weights import WEIGHTS, About, load_teacher, save_teacher

RECIPE = """
name = "levels"
batch_size = 32
[data]
held_out = 64
[network]
plan = ["8", "12/2"]
timesteps = 4
fire_once = false
reset = "soft"
initial_potential = 0.5
input_gains = [6, 2, 1, 1]
input_unit = 0.5
[[stages]]
name = "levels"
neurons = "clipped-relu"
timesteps = 1
epochs = 1
learning_rate = 0.03
ann_teacher = "teacher"
rate_weight = 0.5
[[stages]]
name = "temporal"
neurons = "lif"
timesteps = 4
epochs = 1
optimizer = "adamw"
learning_rate = 0.001
fold = "current"
weight_bits = 8
consistency_weight = 0.5
[quantize]
saturating = true
"""


def teacher(folder: Path, **changes: object) -> None:
    about = About("cifar10", 10, (24, 24, 24), 64, 1, 0.5)
    (folder / "teacher").mkdir(parents=True)
    path = folder / "teacher" / WEIGHTS
    save_teacher(Teacher(10, (24, 24, 24)), dataclasses.replace(about, **changes), path)  # type: ignore[arg-type]


def written(tmp_path: Path, text: str = RECIPE) -> Path:
    path = tmp_path / "levels.toml"
    path.write_text(text)
    return path


def test_a_recipe_of_levels_becomes_a_bundle_of_format_2(cifar: Path, tmp_path: Path) -> None:
    teacher(tmp_path / "runs")
    arguments = [str(written(tmp_path)), "--data", str(cifar), "--run", str(tmp_path / "runs/run")]
    assert main(["all", *arguments, "--bundle", str(tmp_path / "bundle")]) == 0
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.manifest.schema_version == 2
    assert bundle.program.drive is not None
    assert bundle.program.drive.gain.tolist() == [6, 2, 1, 1]
    assert bundle.program.largest_weight == 127
    first = bundle.program.neurons[0]
    assert np.allclose(first.initial, first.reset_by / 2, atol=1)
    log = (tmp_path / "runs/run/log.jsonl").read_text().splitlines()
    assert 0 < json.loads(log[0])["activity"] < 1


@pytest.mark.parametrize(
    "change", [{"held_out": 63}, {"seed": 2}, {"dataset": "cifar100"}], ids=lambda c: next(iter(c))
)
def test_a_teacher_that_may_have_seen_what_is_held_out_is_refused(
    change: dict[str, object], cifar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher(tmp_path / "runs", **change)
    arguments = [str(written(tmp_path)), "--data", str(cifar), "--run", str(tmp_path / "runs/run")]
    assert main(["fit", *arguments]) == 1
    assert "was trained on" in capsys.readouterr().err
    assert not (tmp_path / "runs/run/recipe.json").exists()


def test_a_missing_teacher_is_named(
    cifar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(written(tmp_path)), "--data", str(cifar), "--run", str(tmp_path / "runs/run")]
    assert main(["fit", *arguments]) == 1
    assert str(tmp_path / "runs" / "teacher" / WEIGHTS) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[6, 2, 1, 1]", "[6, 2, 1]", "one per timestep"),
        ('fold = "current"', 'fold = "threshold"', "folded into currents"),
        ('ann_teacher = "teacher"', 'ann_teacher = "teacher"\nteacher = "x"', "not both"),
    ],
)
def test_settings_that_do_not_fit_are_named(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(written(tmp_path, RECIPE.replace(old, new))))


def test_constant_currents_make_as_many_spikes_as_the_pass_had_levels() -> None:
    """Soft reset from half a threshold rounds the sum of T equal currents to whole spikes."""
    x = torch.linspace(-0.4, 1.4, 181)[:, None]
    theta = torch.ones(1)
    for timesteps in (2, 4, 8):
        current = x.expand(timesteps, -1, -1).contiguous()
        spikes = lif(current, theta, torch.tensor(1.0), initial=0.5, hard=False, once=False)
        edge = ((x * timesteps + 0.5) % 1 - 0.0).abs() < 1e-4  # rounding may go either way
        same = spikes.mean(0) == clipped_relu(x, timesteps)
        assert bool((same | edge).all())


def test_halved_levels_are_what_one_spike_says_by_its_time() -> None:
    found = halved_relu(torch.tensor([-1.0, 0.0, 0.05, 0.1, 0.2, 0.4, 0.7, 0.76, 3.0]), 4)
    assert found.tolist() == [0, 0, 0, 0.125, 0.25, 0.5, 0.5, 1, 1]


def model_of(drive: FloatDrive | None, timesteps: int = 4) -> SpikingNetwork:
    network = planned(("8", "12/2"), (8, 8, 3), 10, reset="soft", fire_once=False)
    torch.manual_seed(0)
    model = SpikingNetwork(
        network, timesteps, 1.0, normalised=True, initial=0.5, drive=drive, saturating=True
    ).eval()
    for module in model.synaptic:
        if module.norm is not None:
            torch.nn.init.uniform_(module.norm.bias, -0.2, 0.6)
    return model


@pytest.mark.parametrize("gains", [(1, 1, 1, 1), (3, 1, 1, 1)])
def test_a_drive_brings_the_whole_current_of_a_pass_in_all_timesteps(
    gains: tuple[int, ...],
) -> None:
    """With the image shown at every timestep, T timesteps bring T times the pass's current."""
    drive = FloatDrive(gains, 4 / sum(gains))
    model = model_of(drive)
    image = torch.rand(1, 2, 3, 8, 8)
    with torch.no_grad():
        once = model.synaptic[0](image[0], 1)
        driven = folded(model, "current").synaptic[0](
            image.expand(4, -1, -1, -1, -1).flatten(0, 1), 4
        )
    by_step = driven.view(4, 2, *once.shape[1:])
    torch.testing.assert_close(by_step.sum(0), 4 * once)
    torch.testing.assert_close(by_step[0] * sum(gains) / 4, gains[0] * once)


@pytest.mark.parametrize("drive", [None, FloatDrive((6, 2, 1, 1), 0.5)], ids=["plain", "driven"])
def test_the_served_program_spikes_as_the_trained_network(drive: FloatDrive | None) -> None:
    model = folded(model_of(drive), "current")
    for module in model.synaptic:
        module.weight_bits = 8
    program = quantised(model, 8)
    assert program.format == 2
    frames = np.random.default_rng(0).integers(0, 256, (4, 6, 8, 8, 3)).astype(np.uint8)
    engine = ReferenceEngine(program)
    state, logits, spikes = engine.start(6), [], []
    for frame in frames:
        step = engine.step(frame, state)
        state = step.state
        logits.append(step.logits * program.logit_scale)
        spikes.append(step.spikes)
    with torch.no_grad():
        floats = model(torch.from_numpy(frames).permute(0, 1, 4, 2, 3) / 256)
    rates = [float(neurons.rate) for neurons in model.neurons]
    served = np.mean(spikes, axis=(0, 1)) / [np.prod(lif.in_shape) for lif in model.network.lifs]
    assert served == pytest.approx(rates, rel=0.03)
    assert np.corrcoef(np.ravel(logits), floats.flatten().numpy())[0, 1] > 0.99


def test_a_driven_network_may_run_for_fewer_timesteps() -> None:
    model = folded(model_of(FloatDrive((6, 2, 1, 1), 0.5)), "current").eval()
    frames = torch.rand(4, 3, 3, 8, 8)
    with torch.no_grad():
        whole = model(frames)
        for timesteps in (1, 2, 3):
            torch.testing.assert_close(model(frames[:timesteps]), whole[:timesteps])


@pytest.mark.parametrize("saturating", [False, True])
@pytest.mark.parametrize("gains", [(6, 2, 1, 1), (48, 8, 4, 4)])
def test_gains_biases_and_thresholds_fit_whatever_they_are(
    gains: tuple[int, ...], saturating: bool
) -> None:
    model = folded(model_of(FloatDrive(gains, 1 / gains[-1])), "current")
    model.saturating = saturating
    with torch.no_grad():
        model.neurons[0].theta.fill_(1e-4)
        model.synaptic[0].bias.fill_(2.0)
        model.synaptic[-1].bias.fill_(30.0)
        model.synaptic[1].weight[0] = 0
    program = quantised(model, 8)
    assert saturating or not any(program.saturates)


def test_leaks_are_quantised_as_finely_as_the_layer_says() -> None:
    layers = [
        dataclasses.replace(layer, leak_bits=16) if isinstance(layer, Lif) else layer
        for layer in model_of(None).network.layers
    ]
    model = SpikingNetwork(Network(tuple(layers)), 4, 0.3, normalised=False)
    assert [lif.leak_q for lif in quantised(model, 8).network.lifs] == [round(0.3 * 65536)] * 2


def test_weights_rounded_otherwise_are_another_stage() -> None:
    recipe, _ = load_recipe("levels-vgg8-cifar10")
    bounded = recipe.model_copy(update={"quantize": type(recipe.quantize)(saturating=False)})
    for index, stage in enumerate(recipe.stages):
        same = recipe.fingerprint(index) == bounded.fingerprint(index)
        assert same == (stage.weight_bits is None)


@pytest.mark.parametrize("change", [{"classes": -1}, {"classes": 2**62}, {"widths": (-1, 24, 24)}])
def test_a_teacher_that_cannot_be_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    teacher(tmp_path, **change)
    with pytest.raises(TrainingError, match="holds no teacher"):
        load_teacher(tmp_path / "teacher" / WEIGHTS, torch.device("cpu"))


def test_dynamics_that_the_format_has_not_are_not_quantised() -> None:
    model = folded(model_of(None), "current")
    for neurons in model.neurons:
        neurons.largest_leak = 2.0
    with pytest.raises(TrainingError, match="not served"):
        quantised(model, 8)


def test_agreement_pulls_prefixes_to_the_whole_and_not_the_whole_to_them() -> None:
    accumulated = torch.randn(3, 5, 10, requires_grad=True)
    (gradient,) = torch.autograd.grad(consistency(accumulated, 2.0), accumulated)
    assert gradient[:2].abs().sum() > 0
    assert not gradient[2].any()
    same = accumulated[2:].expand(3, 5, 10)
    assert float(consistency(same, 2.0).detach()) == pytest.approx(0, abs=1e-6)
