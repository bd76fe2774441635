"""A recipe may extend another and begin with what its run has finished."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from spikeserve.models.bundle import load_bundle
from spikeserve.models.layers import Conv, Linear
from spikeserve.models.plans import PIXEL_SHIFT, planned
from spikeserve.models.program import CURRENT_LIMIT
from spikeserve.training.build import SpikingNetwork
from spikeserve.training.cli import main
from spikeserve.training.errors import RecipeError
from spikeserve.training.pipeline import fit
from spikeserve.training.quantize import quantised
from spikeserve.training.recipe import load_recipe
from spikeserve.training.rounding import FloatWeights, fake_quantised, integers, membrane_units
from spikeserve.training.run import Run
from spikeserve.training.trainer import Trainer
from tests.training.conftest import RECIPE

NARROW = """
extends = "tiny"
name = "narrow"
[[stages]]
name = "rounded"
init_from = "ann"
neurons = "lif"
timesteps = 1
epochs = 1
optimizer = "adamw"
learning_rate = 0.001
weight_bits = 4
compensated = true
crop_padding = 0
[[stages]]
name = "narrow"
neurons = "lif"
timesteps = 3
epochs = 1
optimizer = "adamw"
learning_rate = 0.001
fold = "threshold"
weight_bits = 4
[quantize]
weight_bits = 4
"""


@pytest.fixture
def narrow(recipe: Path) -> Path:
    path = recipe.with_name("narrow.toml")
    path.write_text(NARROW)
    return path


def test_it_takes_over_what_it_does_not_say_and_trains_only_what_it_needs(narrow: Path) -> None:
    extended, digest = load_recipe(str(narrow))
    base, _ = load_recipe(str(narrow.with_name("tiny.toml")))
    assert (extended.name, extended.network) == ("narrow", base.network)
    assert [stage.name for stage in extended.stages] == ["ann", "temporal", "rounded", "narrow"]
    assert extended.required == (0, 2, 3)
    assert base.required == (0, 1)
    assert extended.quantize.weight_bits == 4
    narrow.write_text("# said otherwise\n" + NARROW)
    assert load_recipe(str(narrow))[1] == digest
    narrow.with_name("tiny.toml").write_text(RECIPE.replace("[data]", "seed = 7\n[data]"))
    assert load_recipe(str(narrow))[1] != digest


def test_a_base_that_is_none_is_named(narrow: Path) -> None:
    narrow.with_name("tiny.toml").unlink()
    with pytest.raises(RecipeError, match=r"tiny\.toml"):
        load_recipe(str(narrow))


def test_sections_are_taken_over_field_by_field(narrow: Path) -> None:
    narrow.write_text(NARROW + "[data]\nfraction = 0.5\n")
    extended, _ = load_recipe(str(narrow))
    assert (extended.data.fraction, extended.data.held_out) == (0.5, 64)


def test_a_shipped_recipe_may_be_extended_from_anywhere(narrow: Path) -> None:
    narrow.write_text(NARROW.replace('"tiny"', '"smoke"'))
    assert load_recipe(str(narrow))[0].network == load_recipe("smoke")[0].network


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('extends = "narrow"', "extends another recipe itself"),
        ("extends = 3", "extends must be the name"),
        ('extends = "../tiny"', "extends must be the name"),
        ('extends = "a\\u0000"', "extends must be the name"),
        ('extends = "tiny"\nstages = 3', "stages must be tables"),
        ('extends = "tiny"\n[stages]', "stages must be tables"),
        ('extends = "tiny"', "needs its own"),
    ],
)
def test_what_cannot_extend_is_refused(narrow: Path, change: str, message: str) -> None:
    name = "" if "own" in message else 'name = "narrow"\n'
    narrow.write_text(name + change)
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(narrow))


def start_from(folder: Path, cifar: Path, recipe: Path, other: Path) -> list[str]:
    arguments = ["--data", str(cifar), "--run", str(folder), "--from", str(other)]
    return ["fit", str(recipe), *arguments]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[data]", "seed = 7\n[data]"), "differs in seed"),
        (("held_out = 64", "held_out = 32"), "differs in data"),
        (('"12/2"', '"14/2"'), "differs in plan"),
        (("learning_rate = 0.03", "learning_rate = 0.5"), "differs in stage 'ann'"),
    ],
)
def test_stages_trained_otherwise_are_not_copied(
    recipe: Path,
    cifar: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: tuple[str, str],
    message: str,
) -> None:
    """Else images that were trained on would be held out, or the recipe would tell a story."""
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["fit", str(recipe), "--data", str(cifar), "--run", str(first)]) == 0
    recipe.write_text(RECIPE.replace(*change))
    assert main(start_from(second, cifar, recipe, first)) == 1
    assert message in capsys.readouterr().err
    assert not second.exists()
    resumed = ["fit", str(recipe), "--data", str(cifar), "--run", str(first), "--resume"]
    assert main(resumed) == 1
    assert message in capsys.readouterr().err


def test_nothing_is_copied_of_a_damaged_run(
    recipe: Path, cifar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["fit", str(recipe), "--data", str(cifar), "--run", str(first)]) == 0
    for name, damage in {"log.jsonl": b"{\n", "ann.pt": b"PK", "recipe.json": b"{}"}.items():
        whole = (first / name).read_bytes()
        (first / name).write_bytes(damage)
        assert main(start_from(second, cifar, recipe, first)) == 1
        assert name in capsys.readouterr().err
        assert not second.exists()
        (first / name).write_bytes(whole)
    (first / "ann.pt").unlink()  # a later stage must not be kept without what it stems from
    assert main(start_from(second, cifar, recipe, first)) == 1
    assert "no finished stage" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.partial"))
    second.write_text("a file")
    assert main(["fit", str(recipe), "--data", str(cifar), "--run", str(second)]) == 1
    assert "cannot hold a run" in capsys.readouterr().err


def test_a_line_cut_off_by_a_kill_is_no_damage(recipe: Path, cifar: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ["fit", str(recipe), "--data", str(cifar), "--run", str(run)]
    assert main(arguments) == 0
    log = (run / "log.jsonl").read_text()
    (run / "log.jsonl").write_text(log + '{"stage": "temp')
    assert main([*arguments, "--resume"]) == 0
    assert (run / "log.jsonl").read_text() == log


@pytest.mark.parametrize("command", ["quantize", "calibrate", "export"])
def test_only_the_recipe_that_began_a_run_makes_a_bundle_of_it(
    recipe: Path, cifar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Else temperatures would be chosen on images that the network was trained on."""
    run = tmp_path / "run"
    arguments = [str(recipe), "--data", str(cifar), "--run", str(run)]
    assert main(["all", *arguments]) == 0
    bundle = load_bundle(run / "bundle").manifest
    recipe.write_text(RECIPE.replace("[data]", "seed = 7\n[data]"))
    assert main([command, *arguments]) == 1
    assert "differs in seed" in capsys.readouterr().err
    recipe.write_text(RECIPE + "[quantize]\nweight_bits = 4\n")
    if command != "quantize":
        assert main([command, *arguments]) == 1
        assert "run: spiketrain quantize" in capsys.readouterr().err
    assert load_bundle(run / "bundle").manifest == bundle


def test_a_stage_of_the_same_words_after_another_is_another(
    recipe: Path, cifar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    arguments = ["fit", str(recipe), "--data", str(cifar), "--run", str(run)]
    assert main(arguments) == 0
    head, first, last = RECIPE.split("[[stages]]")
    middle = first.replace('"ann"', '"middle"')
    recipe.write_text("[[stages]]".join([head, first, middle, last]))
    assert main([*arguments, "--resume"]) == 1
    assert "differs in stage 'temporal'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["checkpoint", "../escaped", ""])
def test_stages_are_called_what_a_file_may_be_called(recipe: Path, name: str) -> None:
    recipe.write_text(RECIPE.replace('name = "ann"', f'name = "{name}"'))
    with pytest.raises(RecipeError, match="stage"):
        load_recipe(str(recipe))


def test_thresholds_keep_room_above_them() -> None:
    """The finest steps that fit currents may push a threshold beyond what membranes reach."""
    network = planned(("8",), (8, 8, 3), 10)
    model = SpikingNetwork(network, 4, leak=1.0, normalised=False)
    torch.manual_seed(0)
    for theta in (0.5, 4.0, 8.0):
        with torch.no_grad():
            model.synaptic[0].weight.copy_(0.1 * torch.randn(8, 27).abs())
            model.neurons[0].theta.fill_(theta)
        program = quantised(model, 4)
        first = program.network.synaptic[0]
        assert (
            first.shift == PIXEL_SHIFT
            or program.neurons[0].threshold.max() <= CURRENT_LIMIT // 2 + 1
        )
    assert first.shift > 0


def test_a_run_with_copied_stages_goes_on_after_an_interruption(
    recipe: Path, narrow: Path, cifar: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["fit", str(recipe), "--data", str(cifar), "--run", str(first)]) == 0
    arguments = start_from(second, cifar, narrow, first)
    second.mkdir()
    assert main([*arguments, "--resume"]) == 0  # nothing has begun in an empty folder
    assert (second / "ann.pt").read_bytes() == (first / "ann.pt").read_bytes()
    (second / "narrow.pt").unlink()
    assert main([*arguments, "--resume"]) == 0
    assert (second / "narrow.pt").exists()


def test_a_run_begins_with_the_stages_another_has_finished(
    recipe: Path, narrow: Path, cifar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, bundle = tmp_path / "first", tmp_path / "second", tmp_path / "bundle"
    assert main(["fit", str(recipe), "--data", str(cifar), "--run", str(first)]) == 0
    arguments = [str(narrow), "--data", str(cifar), "--run", str(second), "--from", str(first)]
    assert main(["all", *arguments, "--bundle", str(bundle)]) == 0
    log = [json.loads(line) for line in (second / "log.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in log] == ["ann", "rounded", "narrow"]
    assert (second / "ann.pt").read_bytes() == (first / "ann.pt").read_bytes()
    loaded = load_bundle(bundle)
    assert loaded.manifest.weight_bits == 4
    assert loaded.program.largest_weight <= 7
    assert load_bundle(bundle).manifest.training.recipe == "narrow"
    capsys.readouterr()
    assert main(["fit", *arguments]) == 1
    assert "holds a run" in capsys.readouterr().err
    assert main(["fit", *arguments[:-4], "--run", str(tmp_path / "3"), "--from", "/nowhere"]) == 1
    assert "no run folder" in capsys.readouterr().err


def test_rounded_stages_end_with_the_batch_norm_of_their_own_weights(
    recipe: Path, narrow: Path, cifar: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["fit", str(recipe), "--data", str(cifar), "--run", str(first)]) == 0
    run = Run.of(str(narrow), cifar, second)
    fit(run, resume=False, start_from=first)
    train, rest = run.splits()
    trainer = Trainer(run.recipe, 10, train, rest, second)
    model = trainer.networks.final(2)
    norm = model.synaptic[0].norm
    assert norm is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():
        seen = []
        norm.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
        model(trainer.encoder(trainer.train.images, 1).float())
    off = (seen[0].mean(dim=(0, 2, 3)) - norm.running_mean) / norm.running_var.sqrt()
    assert off.abs().max() < 0.1


def test_rounding_is_as_near_as_its_bits_allow() -> None:
    """Never further off than scaling by the largest weight, which is one of the choices."""
    network = planned(("8", "P", "6"), (8, 8, 3), 4)
    layer = network.synaptic[1]
    weight = torch.randn(6, 72, generator=torch.Generator().manual_seed(0))
    floats = FloatWeights(layer, weight, torch.zeros(6), torch.zeros(6))
    units = membrane_units(network, [floats], 4)
    steps = integers(network, floats, units, 4)
    assert steps.abs().max() == 7
    largest = 7 / weight.abs().amax(dim=1)
    plain = (weight * largest[:, None]).round() / largest[:, None]
    ours = fake_quantised(network, floats, units, 4)
    assert torch.equal(ours, weight + (steps / units[:, None] - weight))
    assert (ours - weight).square().sum() < (plain - weight).square().sum()


def test_no_rounding_lets_a_current_leave_int16() -> None:
    network = planned(("256", "256"), (6, 6, 3), 4)
    for layer in network.synaptic:
        assert isinstance(layer, Conv | Linear)
        weight, bias = torch.ones(layer.weight_shape[::-1]), torch.zeros(layer.out_channels)
        floats = FloatWeights(layer, weight, bias, bias.abs())
        steps = integers(network, floats, membrane_units(network, [floats], 8), 8).numpy()
        maximum = 255 if layer is network.layers[0] else 1
        assert (np.abs(steps).sum(axis=1) * maximum / 2**layer.shift <= 32767).all()


def test_single_timestep_stages_are_copied_whatever_happens_between_timesteps(
    recipe: Path, cifar: Path, tmp_path: Path
) -> None:
    """At T = 1 there is no reset, no second spike, and every encoding shows the pixels."""
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["fit", str(recipe), "--data", str(cifar), "--run", str(first)]) == 0
    other = tmp_path / "other.toml"
    other.write_text(
        'extends = "tiny"\nname = "other"\n'
        '[network]\nencoding = "direct"\nfire_once = false\nreset = "soft"\n'
        '[[stages]]\nname = "repeated"\ninit_from = "ann"\nneurons = "lif"\ntimesteps = 3\n'
        'epochs = 1\nlearning_rate = 0.001\noptimizer = "adamw"\nfold = "current"\n'
    )
    assert main(start_from(second, cifar, other, first)) == 0
    stages = [json.loads(line)["stage"] for line in (second / "log.jsonl").read_text().splitlines()]
    assert stages == ["ann", "repeated"]


def test_sums_of_many_inputs_still_fit() -> None:
    """Half a step for every weight would leave no room at all; what is rounded does."""
    network = planned(("8", "F6"), (92, 92, 3), 4)
    layer = network.synaptic[1]
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(6, layer.weight_shape[0], generator=generator) / 100
    floats = FloatWeights(layer, weight, torch.zeros(6), torch.zeros(6))
    units = membrane_units(network, [floats], 8)
    steps = integers(network, floats, units, 8)
    assert (units > 0).all()
    assert (steps.abs().sum(dim=1) <= 32767).all()
    assert torch.corrcoef(torch.stack([steps.flatten(), weight.flatten()]))[0, 1] > 0.5
