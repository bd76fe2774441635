"""Recipe to bundle on data made here: every step real, the numbers meaningless."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from spikeserve.models.bundle import load_bundle
from spikeserve.models.engines.selection import build_engine
from spikeserve.models.exits import ExitPolicy
from spikeserve.models.inference import classify, trace
from spikeserve.models.plans import PIXEL_SHIFT, planned
from spikeserve.training.build import SpikingNetwork, folded
from spikeserve.training.cli import INTERRUPTED, main
from spikeserve.training.data import DATASETS
from spikeserve.training.errors import RecipeError, TrainingError
from spikeserve.training.objective import activity
from spikeserve.training.quantize import quantised
from spikeserve.training.recipe import load_recipe
from spikeserve.training.run import Run
from spikeserve.training.trainer import Trainer
from tests.training.conftest import RECIPE


def test_all_makes_a_bundle_that_serves(recipe: Path, cifar: Path, tmp_path: Path) -> None:
    run, bundle_folder = tmp_path / "run", tmp_path / "bundle"
    arguments = ["--data", str(cifar), "--run", str(run)]
    assert main(["all", str(recipe), *arguments, "--bundle", str(bundle_folder)]) == 0

    bundle = load_bundle(bundle_folder)
    manifest = bundle.manifest
    assert manifest.timesteps == 3
    assert manifest.encoding.kind == "hybrid"
    assert manifest.training.training_images == 191
    assert manifest.provenance.calibration_images == 64
    engine = build_engine(bundle)
    test = DATASETS["cifar10"].test(cifar)
    policy = ExitPolicy(manifest.default_threshold, 1, 3)
    rows = classify(engine, manifest, test.images, [policy] * len(test))
    evaluation = manifest.evaluation
    assert evaluation is not None
    histogram = np.bincount([row.t for row in rows], minlength=4)[1:]
    assert evaluation.exit_histogram == tuple(histogram)
    predictions = [int(row.logit_sum.argmax()) for row in rows if row.logit_sum is not None]
    assert evaluation.default.accuracy == (np.array(predictions) == test.labels).mean()
    card = (bundle_folder / "CARD.md").read_text()
    assert f"{100 * evaluation.accuracy_by_timestep[-1]:.2f} %" in card
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["epoch"]) for line in log] == [
        ("ann", 1), ("temporal", 1), ("temporal", 2),
    ]  # fmt: skip


def test_exits_are_calibrated_anew_for_another_tolerance(
    recipe: Path, cifar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(recipe), "--data", str(cifar), "--run", str(tmp_path / "run")]
    assert main(["all", *arguments]) == 0
    recipe.write_text(recipe.read_text() + "[calibrate]\ntolerance = 0.5\n")
    assert main(["export", *arguments]) == 1
    assert "spiketrain calibrate" in capsys.readouterr().err
    assert main(["calibrate", *arguments]) == 0
    assert main(["export", *arguments]) == 0


RESIDUAL = 'plan = ["8", "R8", "P", "R12/2", "R12", "G"]'


@pytest.mark.parametrize(("bits", "plan"), [(8, None), (4, None), (8, RESIDUAL)])
def test_integer_program_follows_the_float_network(
    recipe: Path, cifar: Path, tmp_path: Path, bits: int, plan: str | None
) -> None:
    if plan is not None:
        recipe.write_text(RECIPE.replace('plan = ["8", "P", "12/2"]', plan))
    run = Run.of(str(recipe), cifar, tmp_path / "run")
    train, rest = run.splits()
    trainer = Trainer(run.recipe, 10, train, rest, run.folder)
    model = trainer.run(resume=False)
    for module in model.synaptic:
        module.weight_bits = bits
    program = quantised(model, bits)
    assert program.network.synaptic[0].shift <= {8: PIXEL_SHIFT, 4: 2}[bits]
    from spikeserve.models.engines.reference import ReferenceEngine

    served = trace(ReferenceEngine(program), run.recipe.encoding, rest.images)
    frames = trainer.encoder(torch.from_numpy(rest.images), 3).float()
    with torch.no_grad():
        logits = model(frames).cumsum(0).numpy()
    error = served.logit_sums * program.logit_scale - logits
    assert np.abs(error).mean() < 0.1 * logits.std()


def test_interrupted_training_resumes_to_the_same_weights(
    recipe: Path, cifar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ["fit", str(recipe), "--data", str(cifar), "--run"]
    assert main([*run, str(tmp_path / "straight")]) == 0

    report = Trainer._report
    calls = 0

    def interrupted(self: Trainer, line: dict[str, object]) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:  # during the last epoch, after its training
            raise KeyboardInterrupt
        report(self, line)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_report", interrupted)
        assert main([*run, str(tmp_path / "resumed")]) == INTERRUPTED
    assert main([*run, str(tmp_path / "resumed")]) == 1  # refuses to overwrite
    assert main([*run, str(tmp_path / "resumed"), "--resume"]) == 0
    straight, resumed = (
        torch.load(tmp_path / name / "temporal.pt") for name in ("straight", "resumed")
    )
    assert all(torch.equal(straight[key], resumed[key]) for key in straight)


def test_folding_keeps_the_first_timestep(recipe: Path, cifar: Path, tmp_path: Path) -> None:
    run = Run.of(str(recipe), cifar, tmp_path / "run")
    train, rest = run.splits()
    trainer = Trainer(run.recipe, 10, train, rest, run.folder)
    trainer.run(resume=False)
    model = trainer.networks.final(0)
    for neurons in model.neurons:
        neurons.activation = "lif"
    twin = folded(model, "threshold").eval()
    frames = trainer.encoder(torch.from_numpy(rest.images), 1).float()
    with torch.no_grad():
        torch.testing.assert_close(model(frames), twin(frames), atol=1e-3, rtol=1e-3)


def test_a_stage_may_start_from_any_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "branches.toml"
    branch = (
        RECIPE.split("[[stages]]")[1].replace('"ann"', '"relu"').replace("clipped-relu", "relu")
    )
    last = RECIPE.split("[[stages]]")[2].replace("epochs", 'init_from = "ann"\nepochs')
    head = "[[stages]]".join(RECIPE.split("[[stages]]")[:2])
    path.write_text("[[stages]]".join([head, f'{branch}init_from = "ann"\n', last]))
    recipe, _ = load_recipe(str(path))
    assert [recipe.initial_stage(index) for index in range(3)] == [None, 0, 0]
    assert [recipe.is_folded(index) for index in range(3)] == [False, False, True]


def test_activity_counts_the_spikes_that_arrive_behind_a_pool() -> None:
    """What training pays for must be what the event engine pays for."""
    network = planned(("8", "P", "6"), (8, 8, 3), 4)
    model = SpikingNetwork(network, 1, leak=1.0, normalised=False)
    arriving: list[torch.Tensor] = []
    for module in model.synaptic[1:]:
        module.register_forward_pre_hook(lambda _, inputs: arriving.append(inputs[0]))
    with torch.no_grad():
        model(torch.rand(1, 5, 3, 8, 8) * 3)
    dense = [16 * 9 * 8 * 6, 16 * 6 * 4]  # MACs of the second convolution and the classifier
    paid = [count * float(x.mean()) for count, x in zip(dense, arriving, strict=True)]
    assert float(activity(model)) == pytest.approx(sum(paid) / sum(dense), rel=1e-5)
    assert 0 < sum(paid) < sum(dense)


def test_nothing_but_evaluate_can_see_the_test_set(
    recipe: Path, cifar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Checkpoints, temperatures and thresholds are made where no test images exist at all."""
    for path in (cifar / "cifar10").glob("test_*.npy"):
        path.unlink()
    arguments = [str(recipe), "--data", str(cifar), "--run", str(tmp_path / "run")]
    for command in ("fit", "quantize", "calibrate"):
        assert main([command, *arguments]) == 0
    assert main(["export", *arguments, "--bundle", str(tmp_path / "bundle")]) == 0
    assert load_bundle(tmp_path / "bundle").manifest.exits.table
    assert main(["evaluate", str(tmp_path / "bundle"), "--data", str(cifar)]) == 1
    assert "has no test_images.npy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('name = "tiny"\nsurprise = 1', "surprise"),
        ('name = "UPPER"', "name"),
        ('name = "tiny"\nbatch_size = 0', "batch_size"),
    ],
)
def test_recipe_mistakes_are_named(tmp_path: Path, change: str, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(RECIPE.replace('name = "tiny"\nbatch_size = 32', change))
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(path))


def test_unknown_recipe_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "nonsense"]) == 1
    assert "cifar10-hybrid" in capsys.readouterr().err


def test_stage_must_have_finished_before_it_is_read(
    recipe: Path, cifar: Path, tmp_path: Path
) -> None:
    run = Run.of(str(recipe), cifar, tmp_path / "run")
    train, rest = run.splits()
    with pytest.raises(TrainingError, match="has not finished"):
        Trainer(run.recipe, 10, train, rest, run.folder).networks.final(1)
