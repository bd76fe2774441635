"""Somebody's ReLU network as a recipe's first stage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from spikeserve.models.bundle import load_manifest
from spikeserve.training.ann_layers import STATISTICS
from spikeserve.training.ann_start import ANN, AnnStart, padded_with_mean, set_from_ann
from spikeserve.training.build import SpikingNetwork
from spikeserve.training.cli import main
from spikeserve.training.errors import TrainingError
from spikeserve.training.recipe import load_recipe
from spikeserve.training.rounding import PIXEL_UNIT
from spikeserve.training.run_folder import RunFolder
from spikeserve.training.stage_networks import StageNetworks
from tests.training.conftest import RECIPE

RELU = RECIPE.replace('neurons = "clipped-relu"', 'neurons = "relu"')
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


class Ann(nn.Sequential):
    """What people train: Conv-BN-ReLU, of the tiny recipe's shapes."""

    def __init__(self, *, bias: bool = False, norm: bool = True) -> None:
        def block(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
            conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=bias)
            return [conv, *([nn.BatchNorm2d(outputs)] if norm else []), nn.ReLU()]

        super().__init__(
            *block(3, 8, 1), nn.MaxPool2d(2), *block(8, 12, 2), nn.Flatten(),
            nn.Linear(12 * 8 * 8, 10),
        )  # fmt: skip
        torch.manual_seed(0)
        for module in self:
            if isinstance(module, nn.BatchNorm2d):
                for part in (module.weight, module.bias, module.running_mean, module.running_var):
                    assert part is not None
                    nn.init.uniform_(part, 0.5, 1.5)
        self.eval()


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(RELU)
    return path


def network(recipe: Path, tmp_path: Path) -> SpikingNetwork:
    loaded, _ = load_recipe(str(recipe))
    planned = loaded.build_network(10, (32, 32, 3))
    networks = StageNetworks(loaded, planned, RunFolder(tmp_path), torch.device("cpu"))
    return networks.initial(0, lambda _: torch.zeros(1, 1, 3, 32, 32))


def pictures() -> Tensor:
    values = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32))
    return torch.from_numpy(values).float()


@pytest.mark.parametrize("ann", [Ann(), Ann(bias=True), Ann(bias=True, norm=False)])
def test_the_first_stage_answers_what_the_ann_does(recipe: Path, tmp_path: Path, ann: Ann) -> None:
    model, x = network(recipe, tmp_path), pictures()
    set_from_ann(model, ann.state_dict(), AnnStart(Path("ann.pt")))
    with torch.no_grad():
        ours = model.eval()((x / PIXEL_UNIT)[None])[0]
        assert ours == pytest.approx(ann(x / 255), abs=1e-4)


def test_normalisation_becomes_part_of_the_first_layer(recipe: Path, tmp_path: Path) -> None:
    """But for borders: the ANN's padding is its mean, black here."""
    model, x, ann = network(recipe, tmp_path), pictures(), Ann()
    start = AnnStart(Path("ann.pt"), MEAN, STD)
    assert set_from_ann(model, ann.state_dict(), start).borders
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    first = model.eval().stack[0]
    with torch.no_grad():
        ours = first(x / PIXEL_UNIT, 1)
        theirs = ann[1](ann[0]((x / 255 - mean) / std))
        inside = (..., slice(1, -1), slice(1, -1))
        assert ours[inside] == pytest.approx(theirs[inside], abs=1e-3)
        black, expected = model((x / PIXEL_UNIT)[None])[0], ann((x / 255 - mean) / std)
        with padded_with_mean(model, start):
            ours = model((x / PIXEL_UNIT)[None])[0]
        assert ours == pytest.approx(expected, abs=1e-4)
        assert black != pytest.approx(expected, abs=1e-2)
        assert model((x / PIXEL_UNIT)[None])[0] == pytest.approx(black, abs=1e-4)


class Named(nn.Module):
    """The same with names, registered in an order of their own; a hidden linear layer without
    batch-norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, 1, 1), nn.Conv2d(8, 12, 3, 2, 1)
        self.fc1, self.fc2 = nn.Linear(12 * 8 * 8, 20), nn.Linear(20, 10)
        self.bn1, self.bn2 = Ann()[1], nn.BatchNorm2d(12)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(self.bn1(self.conv1(x)).relu(), 2)
        x = self.bn2(self.conv2(x)).relu().flatten(1)
        out: Tensor = self.fc2(self.fc1(x).relu())
        return out


@pytest.mark.parametrize("name", ["ann.safetensors", "ann.pt"])
@pytest.mark.parametrize("ann", [Ann(), Named()])
def test_files_need_no_order(recipe: Path, tmp_path: Path, ann: nn.Module, name: str) -> None:
    if isinstance(ann, Named):
        recipe.write_text(RELU.replace('"12/2"]', '"12/2", "F20"]'))
    model, x = network(recipe, tmp_path), pictures()
    start = AnnStart(saved(tmp_path / name, ann.state_dict()))
    set_from_ann(model, start.read()[0], start)
    with torch.no_grad():
        ours = model.eval()((x / PIXEL_UNIT)[None])[0]
        assert ours == pytest.approx(ann(x / 255), abs=1e-4)


def refused(recipe: Path, tmp_path: Path, state: dict[str, Tensor], start: AnnStart) -> str:
    with pytest.raises(TrainingError) as error:
        set_from_ann(network(recipe, tmp_path), state, start)
    return str(error.value)


def test_everything_that_does_not_fit_is_named_at_once(recipe: Path, tmp_path: Path) -> None:
    state = Ann().state_dict() | {
        "0.weight": torch.zeros(9, 3, 5, 5),
        "8.weight": torch.zeros(7, 1),
    }
    said = refused(recipe, tmp_path, state, AnnStart(Path("ann.pt"), (0.5,), (0.0, 1.0, 1.0)))
    for words in ("0.weight is (9, 3, 5, 5)", "8.weight is (7, 1)", "mean has 1", "std must be"):
        assert words in said
    short = {k: v for k, v in Ann().state_dict().items() if not k.startswith("8.")}
    assert "the file has 2" in refused(recipe, tmp_path, short, AnnStart(Path("ann.pt")))


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"0.alpha": torch.ones(8)}, "0.alpha"),
        ({"2.weight": torch.ones(1)}, "2.weight belongs to no layer"),
        ({f"9.{part}": torch.ones(10) for part in STATISTICS}, "batch-norm behind the classifier"),
        ({"1.running_var": -torch.ones(8)}, "negative variances"),
        ({"8.bias": torch.zeros(1)}, "its bias"),
    ],
)
def test_what_no_plan_has_is_refused(
    recipe: Path, tmp_path: Path, extra: dict[str, Tensor], words: str
) -> None:
    """Slopes of PReLU, group-norms, …: left out in silence, the outputs would be others."""
    state = Ann().state_dict() | extra
    assert words in refused(recipe, tmp_path, state, AnnStart(Path("ann.pt")))


def test_batch_norms_elsewhere_are_refused(recipe: Path, tmp_path: Path) -> None:
    whole = Ann().state_dict()
    first = {f"input.{part}": torch.ones(3) for part in STATISTICS}
    second = {f"again.{part}": torch.ones(8) for part in STATISTICS}
    twice: dict[str, Tensor] = {}
    for name, value in whole.items():
        if name == "4.weight":
            twice |= second
        twice[name] = value
    for state, name in ((first | whole, "input"), (twice, "again")):
        said = refused(recipe, tmp_path, state, AnnStart(Path("ann.pt")))
        assert f"{name}: a batch-norm behind no layer" in said


@pytest.mark.parametrize(
    "value",
    [torch.full((8,), torch.nan), torch.ones(8, dtype=torch.int64), torch.ones(8).to_sparse()],
)
def test_numbers_are_finite_floats(tmp_path: Path, value: Tensor) -> None:
    file = saved(tmp_path / "ann.pt", Ann().state_dict() | {"1.bias": value})
    with pytest.raises(TrainingError, match=r"1\.bias: dense floats"):
        AnnStart(file).read()


def saved(path: Path, state: dict[str, Tensor]) -> Path:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"epoch": 3, "state_dict": state}, path)
    return path


@pytest.mark.parametrize("name", ["ann.safetensors", "ann.pt"])
def test_a_pipeline_begins_with_it(
    recipe: Path, cifar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    file = saved(tmp_path / name, Ann().state_dict())
    run = tmp_path / "run"
    command = ["all", str(recipe), "--data", str(cifar), "--run", str(run)]
    asked = [*command, "--from-ann", str(file), "--ann-mean", "0.5,0.5,0.5"]
    assert main(asked) == 0
    said = capsys.readouterr().out
    assert f"ann: {name}, " in said
    assert "with borders of its mean" in said
    (made,) = load_manifest(run / "bundle").training.pretraining
    assert made.recipe.startswith(f"{name} (sha256 ")
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in log if line["stage"] == "ann"] == [0]
    assert main([*asked, "--resume"]) == 0
    assert main([*command, "--from-ann", str(file), "--resume"]) == 1
    assert "another normalisation" in capsys.readouterr().err
    later = ["all", str(recipe), "--data", str(cifar), "--run", str(tmp_path / "later")]
    assert main([*later, "--from", str(run)]) == 0
    assert load_manifest(tmp_path / "later" / "bundle").training.pretraining == (made,)


def test_a_trial_begins_with_it(recipe: Path, cifar: Path, tmp_path: Path) -> None:
    file = saved(tmp_path / "ann.pt", Ann().state_dict())
    command = ["all", str(recipe), "--data", str(cifar), "--run", str(tmp_path / "run")]
    assert main([*command, "--trial", "0.5", "--from-ann", str(file)]) == 0
    assert (tmp_path / "run-trial" / "bundle").exists()
    assert (tmp_path / "run-trial" / ANN).exists()


def test_a_stage_that_was_trained_is_not_taken_over_in_silence(
    recipe: Path, cifar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = saved(tmp_path / "ann.pt", Ann().state_dict())
    command = ["fit", str(recipe), "--data", str(cifar), "--run", str(tmp_path / "run")]
    assert main(command) == 0
    assert main([*command, "--resume", "--from-ann", str(file)]) == 1
    assert "was trained" in capsys.readouterr().err


def whole_module(path: Path) -> None:
    torch.save(Ann(), path)


def numbers(path: Path) -> None:
    torch.save([1, 2, 3], path)


def garbage(path: Path) -> None:
    path.write_bytes(b"no weights")


def nothing(path: Path) -> None:
    path.unlink(missing_ok=True)


@pytest.mark.parametrize("write", [whole_module, numbers, garbage, nothing])
@pytest.mark.parametrize("name", ["ann.pt", "ann.safetensors"])
def test_other_files_are_refused_and_no_code_is_run(
    recipe: Path, cifar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    write: Callable[[Path], None], name: str,
) -> None:  # fmt: skip
    write(tmp_path / name)
    command = ["fit", str(recipe), "--data", str(cifar), "--run", str(tmp_path / "run")]
    assert main([*command, "--from-ann", str(tmp_path / name)]) == 1
    said = capsys.readouterr().err
    assert str(tmp_path / name) in said
    assert "Traceback" not in said
    saved(tmp_path / name, Ann().state_dict())
    assert main([*command, "--from-ann", str(tmp_path / name)]) == 0  # nothing was left behind


def test_only_a_relu_stage_can_be_replaced(
    tmp_path: Path, cifar: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.toml").write_text(RECIPE)
    file = saved(tmp_path / "ann.pt", Ann().state_dict())
    command = ["fit", str(tmp_path / "other.toml"), "--data", str(cifar)]
    assert main([*command, "--run", str(tmp_path / "run"), "--from-ann", str(file)]) == 1
    assert 'neurons = "relu"' in capsys.readouterr().err
