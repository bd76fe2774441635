"""Edges of command lines and recipes: one line that names what is wrong, and no traceback."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

import spikeserve.training
from spikeserve.models.bundle import load_manifest
from spikeserve.training import device
from spikeserve.training.cli import main
from spikeserve.training.data_parallel import ProcessGroup, fingerprint
from spikeserve.training.errors import TrainingError
from spikeserve.training.recipe import LARGEST_SEED
from spikeserve.training.run_folder import LOG
from tests.training.conftest import RECIPE

PIPELINE = "spikeserve.training.pipeline"
TORCH = ModuleNotFoundError("No module named 'torch'", name="torch")
ONNX = ModuleNotFoundError("No module named 'onnx'", name="onnx")


class Unusable:
    """An import system in which training's steps cannot be imported."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def find_spec(self, name: str, *_: object) -> None:
        if name == PIPELINE:
            raise self.error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (TORCH, "training needs torch, which serving does without"),
        (ONNX, "training needs onnx, which serving does without"),
        (OSError("libtorch.so: cannot open shared object file"), "libtorch.so"),
        (ImportError("cannot import name 'nn' from 'torch'"), "cannot import name 'nn'"),
        (ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn"), "'torch.nn'"),
    ],
)
@pytest.mark.parametrize("arguments", [["--help"], ["data", "cifar10"]])
def test_without_the_extra_every_command_says_so(
    error: Exception,
    message: str,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delitem(sys.modules, PIPELINE, raising=False)
    monkeypatch.delattr(spikeserve.training, "pipeline", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Unusable(error), *sys.meta_path])
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.endswith(": pip install 'spikeserve[train]'\n")
    assert said.count("\n") == 1


def test_a_fault_of_our_own_is_not_taken_for_a_missing_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(spikeserve.training, "pipeline", raising=False)
    monkeypatch.setitem(sys.modules, PIPELINE, None)
    with pytest.raises(ImportError):
        main(["--help"])


def test_without_torch_the_module_says_so_as_well() -> None:
    script = (
        "import sys; sys.modules['torch'] = None; import runpy\n"
        "runpy.run_module('spikeserve.training.cli', run_name='__main__')"
    )
    command = [sys.executable, "-c", script, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "pip install 'spikeserve[train]'" in done.stderr


@pytest.mark.parametrize(
    ("old", "new"),
    [
        *(
            ("learning_rate = 0.03", f"learning_rate = {value}")
            for value in (
                "inf", "-inf", "nan", "0", "-1", "1e400", "'0.1'", "true", "2020-01-01",
                "[0.1]", "1" + "0" * 400,
            )
        ),
        *(
            ("batch_size = 32", f"batch_size = {value}")
            for value in ("0", "32.5", "'32'", "true", "1" + "0" * 30)
        ),
        ("batch_size = 32", "batch_size = 32\nseed = 99999999999999999999"),
        ("batch_size = 32", "batch_size = 32\nseed = 1.5"),
        ("held_out = 64", "held_out = inf"),
        ("epochs = 1\n", "epochs = true\n"),
        ("epochs = 2\n", "epochs = 1000000000\n"),
        ("rate_weight = 0.3", "rate_weight = inf"),
        ("rate_weight = 0.3", "weight_decay = nan"),
        ("rate_weight = 0.3", "timestep_weights = [1, inf, 1]"),
        ("rate_weight = 0.3", "teacher_temperature = inf"),
        ("cutout = 8", "cutout = 1000000000000000000000"),
        ("cutout = 8", "crop_padding = 1000000000"),
        ("train_leak = true", "train_leak = 'yes'"),
        ("timesteps = 3\n[[", "timesteps = 3\nleak = nan\n[["),
        ("timesteps = 3\n[[", "timesteps = 3\ninput_unit = inf\n[["),
    ],
)  # fmt: skip
def test_numbers_that_make_no_sense_are_refused_by_name(
    old: str,
    new: str,
    recipe: Path,
    cifar: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert old in RECIPE
    recipe.write_text(RECIPE.replace(old, new))
    run = tmp_path / "run"
    assert main(["fit", str(recipe), "--data", str(cifar), "--run", str(run)]) == 1
    error = capsys.readouterr().err
    named = new.splitlines()[-1] if new.splitlines()[-1] != "[[" else new.splitlines()[-2]
    assert error.count("\n") == 1
    assert named.split(" = ")[0] in error
    assert not run.exists()


@pytest.mark.parametrize("size", ["two", "0", "2", "-1", ""])
def test_a_group_that_nobody_set_up_is_refused(
    size: str,
    recipe: Path,
    cifar: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WORLD_SIZE", size)
    assert main(["fit", str(recipe), "--data", str(cifar), "--run", str(tmp_path / "run")]) == 1
    assert "torchrun" in capsys.readouterr().err


ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n"


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        ("processor\t: 0\nmodel name\t: AMD EPYC 9\n\nprocessor\t: 1\n", "AMD EPYC 9"),
        ("processor\t: 0\nmodel name\t:\n", "aarch64"),
        (ARM, "aarch64"),
        (ARM + "Hardware\t: BCM2835\n", "BCM2835"),
        ("cpu\t\t: POWER9, altivec supported\n", "POWER9, altivec supported"),
        ("processor\t: 0\nuarch\t: sifive,u74-mc\n", "sifive,u74-mc"),
        ("no colon at all", "aarch64"),
        ("", "aarch64"),
        (None, "aarch64"),
    ],
)
def test_every_processor_has_a_name(
    cpuinfo: str | None, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        path.write_text(cpuinfo)
    monkeypatch.setattr(device, "CPUINFO", path)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert device.processor() == name
    assert device.hardware(torch.device("cpu"), 2).startswith("2 × ")
    monkeypatch.setattr(platform, "machine", lambda: "")
    assert device.processor()


def test_a_bundle_names_what_it_was_trained_on_not_what_exported_it(
    recipe: Path, cifar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe.write_text(f"seed = {LARGEST_SEED}\n{RECIPE}")  # which trains, too
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    arguments = [str(recipe), "--data", str(cifar), "--run", str(run)]
    monkeypatch.setattr(device, "processor", lambda: "the trainer's")
    assert main(["fit", *arguments]) == 0
    monkeypatch.setattr(device, "processor", lambda: "the exporter's")
    for step in ("quantize", "calibrate", "export"):
        more = ["--bundle", str(bundle)] if step == "export" else []
        assert main([step, *arguments, *more]) == 0
    assert load_manifest(bundle).training.hardware.endswith(" cores of the trainer's")

    lines = [json.loads(line) for line in (run / LOG).read_text().splitlines()]
    lines[-1]["hardware"] = "another machine"  # it was resumed there
    (run / LOG).write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["export", *arguments, "--bundle", str(bundle)]) == 0
    hardware = load_manifest(bundle).training.hardware
    assert hardware.endswith(" cores of the trainer's, then another machine")

    for line in lines:
        del line["hardware"]  # a log of an earlier release
    (run / LOG).write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["export", *arguments, "--bundle", str(bundle)]) == 0
    assert load_manifest(bundle).training.hardware == "not recorded"


def test_any_number_of_a_network_changes_its_fingerprint() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    found = {fingerprint(model)}
    for tensor in model.state_dict().values():
        tensor.reshape(-1)[-1] += 1
        found.add(fingerprint(model))
    assert len(found) == 1 + len(model.state_dict())


def test_processes_with_other_networks_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    model, others = nn.Linear(3, 2), [0]

    def all_reduce(tensor: torch.Tensor, operation: dist.ReduceOp.RedOpType) -> None:
        choose = torch.minimum if operation == dist.ReduceOp.MIN else torch.maximum
        tensor.copy_(choose(tensor, torch.tensor(others)))

    monkeypatch.setattr(dist, "all_reduce", all_reduce)
    others[0] = fingerprint(model)
    ProcessGroup(0, 2).check_same(model, "at first")
    model.weight.data[0, 0] += 1e-6
    with pytest.raises(TrainingError, match="after epoch 1 the 2 processes hold different"):
        ProcessGroup(0, 2).check_same(model, "after epoch 1")
    ProcessGroup().check_same(model, "alone")


@pytest.mark.verify
@pytest.mark.parametrize("drift", [False, True])
def test_two_real_processes_compare_after_every_epoch(
    drift: bool, recipe: Path, cifar: Path, tmp_path: Path
) -> None:
    script = tmp_path / "train.py"
    script.write_text(TWO.format(drift=drift, data=cifar))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    where = ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]
    arguments = ["--", "fit", str(recipe), "--data", str(cifar), "--run", str(tmp_path / "run")]
    done = subprocess.run(
        [*command, *where, str(script), *arguments],
        env=os.environ | {"SPIKETRAIN_COMPILE": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode != 0) == drift, done.stderr
    assert ("hold different networks" in done.stderr) == drift


TWO = """
import dataclasses, hashlib, os, sys
import numpy as np
from pathlib import Path
import torch
from spikeserve.training import trainer
from spikeserve.training.cli import main
from spikeserve.training.data import DATASETS
arrays = {{p.stem: np.load(p) for p in (Path("{data}") / "cifar10").glob("*.npy")}}
sha256 = {{name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}}
DATASETS["cifar10"] = dataclasses.replace(DATASETS["cifar10"], sha256=sha256)
if {drift} and os.environ["RANK"] == "1":
    learn = trainer.set_learning_rates
    trainer.set_learning_rates = lambda o, s, e: learn(o, s, e + 0.01)
sys.exit(main([a for a in sys.argv[1:] if a != '--']))
"""
