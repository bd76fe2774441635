"""How stages begin and proceed: thresholds, learning rates, time limits, several processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spikeserve.models.plans import planned
from spikeserve.training.build import SpikingNetwork
from spikeserve.training.cli import PAUSED, main
from spikeserve.training.conversion import set_thresholds
from spikeserve.training.optimizers import learning_rate_factor
from spikeserve.training.recipe import load_recipe
from spikeserve.training.run import Run
from spikeserve.training.run_folder import RunFolder
from spikeserve.training.trainer import Trainer
from tests.training.conftest import RECIPE

SGD = RECIPE.replace(
    "learning_rate = 0.03\ntrain_threshold = false",
    'learning_rate = 0.05\noptimizer = "sgd"\nschedule = "cosine"\nweight_decay = 5e-4\n'
    'loss = "timestep"\nlogit_weight = 1e-3\npolicy = "trivial"\ntrain_threshold = false',
).replace(
    "rate_weight = 0.3\n", 'rate_weight = 0.3\nloss = "spike-time"\nthreshold_percentile = 0.9\n'
)


def test_learning_rates_rise_and_fall(recipe: Path) -> None:
    stage = load_recipe(str(recipe))[0].stages[0].model_copy(update={"epochs": 10, "warmup": 0.2})
    assert learning_rate_factor(stage, 1) == pytest.approx(0.5, abs=0.01)
    assert learning_rate_factor(stage, 2) == 1
    assert learning_rate_factor(stage, 6) == pytest.approx(0.5)
    cosine = stage.model_copy(update={"schedule": "cosine"})
    assert learning_rate_factor(cosine, 6) == pytest.approx(0.5)
    assert learning_rate_factor(cosine, 4) > learning_rate_factor(stage, 4)
    assert learning_rate_factor(cosine, 10) == pytest.approx(0)


def test_thresholds_let_the_asked_share_of_neurons_spike(
    recipe: Path, cifar: Path, tmp_path: Path
) -> None:
    run = Run.of(str(recipe), cifar, tmp_path / "run")
    train, rest = run.splits()
    trainer = Trainer(run.recipe, 10, train, rest, run.folder)
    model = SpikingNetwork(trainer.network, 3, 1.0, normalised=True)
    set_thresholds(model, trainer.sample(1).float(), percentile=0.9, scale=1.0)
    with torch.no_grad():
        model.eval()(trainer.sample(1).float())
    for neurons in model.neurons:
        assert float(neurons.rate) == pytest.approx(0.1, abs=0.02)
    before = model.neurons[0].theta.detach().clone()
    set_thresholds(model, trainer.sample(1).float(), percentile=0.9, scale=0.5)
    torch.testing.assert_close(model.neurons[0].theta.detach(), before / 2)


def test_other_optimisers_losses_and_augmentation_train(cifar: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "sgd.toml"
    recipe.write_text(SGD)
    arguments = [str(recipe), "--data", str(cifar), "--run", str(tmp_path / "run")]
    assert main(["all", *arguments, "--bundle", str(tmp_path / "bundle")]) == 0


def test_training_in_slices_ends_where_training_at_once_does(
    recipe: Path, cifar: Path, tmp_path: Path
) -> None:
    arguments = ["fit", str(recipe), "--data", str(cifar), "--run"]
    assert main([*arguments, str(tmp_path / "whole")]) == 0
    sliced = [*arguments, str(tmp_path / "sliced"), "--minutes", "0"]
    done: list[list[str]] = []
    assert main(sliced) == PAUSED
    while not done or main([*sliced, "--resume"]) == PAUSED:  # an epoch at a time
        lines = (tmp_path / "sliced" / "log.jsonl").read_text().splitlines()
        done.append([json.loads(line)["stage"] for line in lines])
    assert done == [["ann"], ["ann", "temporal"]]
    whole, parts = (torch.load(tmp_path / name / "temporal.pt") for name in ("whole", "sliced"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_trial_of_large_batches_takes_small_ones_at_a_lower_rate(recipe: Path) -> None:
    """Batches made for a GPU need more memory than a machine without one may have."""
    recipe.write_text(RECIPE.replace("batch_size = 32", "batch_size = 256"))
    whole = Run.of(str(recipe), Path("data"), None)
    trial = whole.trial(0.1).recipe
    assert trial.batch_size == 64
    rates = [stage.learning_rate for stage in whole.recipe.stages]
    assert [stage.learning_rate for stage in trial.stages] == [rate / 4 for rate in rates]


def test_a_trial_is_short_and_says_so(recipe: Path, cifar: Path, tmp_path: Path) -> None:
    arguments = [str(recipe), "--data", str(cifar), "--run", str(tmp_path / "run")]
    assert main(["all", *arguments, "--trial", "0.5", "--bundle", str(tmp_path / "bundle")]) == 0
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert manifest["name"] == "tiny-trial"
    assert manifest["provenance"]["training_images"] == 96
    assert not (tmp_path / "run").exists()
    log = (tmp_path / "run-trial" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["of"] for line in log] == [1, 1]


@pytest.mark.verify
def test_two_processes_train_one_network(recipe: Path, tmp_path: Path) -> None:
    """On real images, since a second process knows no stand-in data set; from another's stages."""
    recipe.write_text(RECIPE.replace("held_out = 64", "held_out = 5000\nfraction = 0.02"))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    run = tmp_path / "run"
    fit = ["spikeserve.training.cli", "--", "fit", str(recipe), "--run", str(run)]
    command = [*launch, "--module", *fit]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "SPIKETRAIN_COMPILE": "0"}
    subprocess.run([*command, "--minutes", "0"], check=False, env=environment, timeout=300)
    assert not (run / "temporal.pt").exists()
    command += ["--resume"]
    subprocess.run(command, check=True, env=environment, timeout=300)
    again = [*command[:-3], "--run", str(tmp_path / "again"), "--from", str(run)]
    subprocess.run(again, check=True, env=environment, timeout=300)
    assert (tmp_path / "again" / "temporal.pt").exists()
    assert (run / "temporal.pt").exists()
    assert len((run / "log.jsonl").read_text().splitlines()) == 3
    assert main(["quantize", str(recipe), "--run", str(run)]) == 0


def test_an_epoch_that_was_not_saved_is_forgotten(
    recipe: Path, cifar: Path, tmp_path: Path
) -> None:
    """A kill between the log's line and the checkpoint must not leave the line twice."""
    run = tmp_path / "run"
    arguments = ["fit", str(recipe), "--data", str(cifar), "--run", str(run)]
    assert main([*arguments, "--minutes", "0"]) == PAUSED
    with (run / "log.jsonl").open("a") as log:
        log.write('{"stage": "temporal", "epoch": 1, "of": 2, "seconds": 9}\n')
    assert main([*arguments, "--resume"]) == 0
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["epoch"]) for line in lines] == [
        ("ann", 1), ("temporal", 1), ("temporal", 2),
    ]  # fmt: skip
    assert all("loss" in line for line in lines)


def test_a_program_of_another_recipe_is_not_exported(
    recipe: Path, cifar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(recipe), "--data", str(cifar), "--run", str(tmp_path / "run")]
    for command in ("fit", "quantize", "calibrate"):
        assert main([command, *arguments]) == 0
    assert main(["quantize", *arguments]) == 0
    assert main(["export", *arguments, "--bundle", str(tmp_path / "bundle")]) == 1
    assert "spiketrain calibrate" in capsys.readouterr().err
    recipe.write_text(RECIPE + "[quantize]\nweight_bits = 7\n")
    assert main(["calibrate", *arguments]) == 1
    assert "or by another recipe" in capsys.readouterr().err


def test_pretrained_weights_are_all_but_the_classifiers(
    recipe: Path, cifar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(cifar), "--run"]
    other = tmp_path / "other.toml"
    other.write_text(
        RECIPE.replace('name = "tiny"', 'name = "other"').replace(
            'name = "ann"', 'name = "ann"\npretrained = "tiny/ann"'
        )
    )
    assert main(["fit", str(other), *arguments, str(tmp_path / "other")]) == 1
    assert "train tiny/ann first" in capsys.readouterr().err
    assert main(["fit", str(recipe), *arguments, str(tmp_path / "tiny")]) == 0
    run = Run.of(str(other), cifar, tmp_path / "other")
    trainer = Trainer(run.recipe, 10, *run.splits(), run.folder)
    torch.manual_seed(0)
    initial = trainer.networks.initial(0, trainer.sample).state_dict()
    pretrained = torch.load(tmp_path / "tiny" / "ann.pt")
    same = {name for name in pretrained if torch.equal(pretrained[name], initial[name])}
    last = max(int(name.split(".")[1]) for name in pretrained if name.startswith("stack"))
    assert {name for name in pretrained if not name.startswith(f"stack.{last}.")} <= same
    assert f"stack.{last}.weight" not in same
    assert main(["fit", str(other), *arguments, str(tmp_path / "other")]) == 0


def test_pretrained_weights_fit_where_strides_take_the_place_of_pools(
    recipe: Path, cifar: Path, tmp_path: Path
) -> None:
    arguments = ["--data", str(cifar), "--run"]
    assert main(["fit", str(recipe), *arguments, str(tmp_path / "tiny")]) == 0
    strided = RECIPE.replace('["8", "P", "12/2"]', '["8/2", "12/2"]').replace('"tiny"', '"other"')
    recipe.write_text(strided.replace('name = "ann"', 'name = "ann"\npretrained = "tiny/ann"'))
    run = Run.of(str(recipe), cifar, tmp_path / "other")
    trainer = Trainer(run.recipe, 10, *run.splits(), run.folder)
    initial = trainer.networks.initial(0, trainer.sample)
    theirs = torch.load(tmp_path / "tiny" / "ann.pt")
    for module, index in zip(initial.synaptic[:-1], (0, 3), strict=True):
        assert torch.equal(module.weight, theirs[f"stack.{index}.weight"])
        assert module.norm is not None
        assert torch.equal(module.norm.bias, theirs[f"stack.{index}.norm.bias"])


def test_one_process_trains_in_a_folder_at_a_time(
    recipe: Path, cifar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    arguments = ["fit", str(recipe), "--data", str(cifar), "--run", str(run)]
    with RunFolder(run).locked():
        assert main(arguments) == 1
    assert "another process is training" in capsys.readouterr().err
    (run / "recipe.json.partial").touch()  # all that a very early kill leaves
    assert main([*arguments, "--minutes", "0"]) == PAUSED


def test_training_that_diverges_stops_and_saves_nothing(
    recipe: Path, cifar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe.write_text(RECIPE.replace("learning_rate = 0.03", "learning_rate = 1e30"))
    run = tmp_path / "run"
    assert main(["fit", str(recipe), "--data", str(cifar), "--run", str(run)]) == 1
    assert "diverged" in capsys.readouterr().err
    assert {path.name for path in run.iterdir()} <= {"recipe.json", "data.json", "log.jsonl"}


def test_hidden_linear_layers_train_with_their_norms() -> None:
    network = planned(("8", "P", "F16"), (8, 8, 3), 10, leak_q=256, reset="hard", fire_once=True)
    model = SpikingNetwork(network, 2, 1.0, normalised=True)
    for neurons in model.neurons:
        neurons.activation = "relu"
    model(torch.rand(1, 4, 3, 8, 8)).square().sum().backward()
    norms = [module.norm for module in model.synaptic if module.norm is not None]
    assert [len(norm.weight) for norm in norms] == [8, 16]
    for norm in norms:
        assert norm.weight.grad is not None
        assert norm.num_batches_tracked == 1


def test_a_bundle_names_its_pretraining_and_refuses_one_that_held_out_other_images(
    recipe: Path, cifar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(cifar), "--minutes", "0", "--run"]
    assert main(["fit", str(recipe), *arguments, str(tmp_path / "tiny")]) == PAUSED
    transferred = RECIPE.replace('name = "ann"\n', 'name = "ann"\npretrained = "tiny/ann"\n')
    recipe.write_text(transferred.replace('"tiny"', '"other"'))
    assert main(["all", str(recipe), "--data", str(cifar), "--run", str(tmp_path / "other")]) == 0
    manifest = json.loads((tmp_path / "other" / "bundle" / "manifest.json").read_text())
    (earlier,) = manifest["provenance"]["trunks"]
    assert (earlier["recipe"], earlier["dataset"]) == ("tiny", "CIFAR-10")
    recipe.write_text("seed = 2\n" + recipe.read_text())
    assert main(["fit", str(recipe), *arguments, str(tmp_path / "third")]) == 1
    assert "another seed or held_out" in capsys.readouterr().err
