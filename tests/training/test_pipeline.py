"""Recipe to bundle on data made here: every step real, the numbers meaningless."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.bundle import load_bundle
from models.engines.selection import build_engine
from models.exits import ExitPolicy
from models.inference import classify, trace
from models.network import PIXEL_SHIFT, vgg
from tests.training.conftest import RECIPE
from training import data, fit
from training.build import SpikingNetwork, folded
from training.cli import main
from training.data import Batches, Split, augmented, held_out
from training.errors import DataError, RecipeError, TrainingError
from training.pipeline import Run
from training.quantize import quantised
from training.recipe import load_recipe

BATCHES = 5


def test_all_makes_a_bundle_that_serves(recipe: Path, cifar: Path, tmp_path: Path) -> None:
    run, bundle_folder = tmp_path / "run", tmp_path / "bundle"
    arguments = ["--data", str(cifar), "--run", str(run)]
    assert main(["all", str(recipe), *arguments, "--bundle", str(bundle_folder)]) == 0

    bundle = load_bundle(bundle_folder)
    manifest = bundle.manifest
    assert manifest.timesteps == 3
    assert manifest.encoding.kind == "hybrid"
    assert manifest.provenance.training_images == 191
    assert manifest.provenance.calibration_images == 64
    engine = build_engine(bundle)
    test = data.cifar10_test(cifar)
    policy = ExitPolicy(manifest.exits.default_entropy_threshold, 1, 3)
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


@pytest.mark.parametrize("bits", [8, 4])
def test_integer_program_follows_the_float_network(
    recipe: Path, cifar: Path, tmp_path: Path, bits: int
) -> None:
    run = Run.of(str(recipe), cifar, tmp_path / "run")
    train, rest = run.splits()
    trainer = fit.Fit(run.recipe, 10, train, rest, run.folder)
    model = trainer.run(resume=False)
    for synapse in model.synapses:
        synapse.weight_bits = bits
    program = quantised(model, bits)
    assert program.network.synaptic[0].shift <= {8: PIXEL_SHIFT, 4: 2}[bits]
    from models.engines.reference import ReferenceEngine

    served = trace(ReferenceEngine(program), run.recipe.encoding, rest.images)
    frames = fit.encoded(torch.from_numpy(rest.images), trainer.table, 3).float()
    with torch.no_grad():
        logits = model(frames).cumsum(0).numpy()
    error = served.logit_sums * program.logit_scale - logits
    assert np.abs(error).mean() < 0.1 * logits.std()


def test_interrupted_training_resumes_to_the_same_weights(
    recipe: Path, cifar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ["fit", str(recipe), "--data", str(cifar), "--run"]
    assert main([*run, str(tmp_path / "straight")]) == 0

    report = fit.Fit._report
    calls = 0

    def interrupted(self: fit.Fit, line: dict[str, object]) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:  # during the last epoch, after its training
            raise KeyboardInterrupt
        report(self, line)

    with monkeypatch.context() as patch:
        patch.setattr(fit.Fit, "_report", interrupted)
        with pytest.raises(KeyboardInterrupt):
            main([*run, str(tmp_path / "resumed")])
    assert main([*run, str(tmp_path / "resumed")]) == 1  # refuses to overwrite
    assert main([*run, str(tmp_path / "resumed"), "--resume"]) == 0
    straight, resumed = (
        torch.load(tmp_path / name / "temporal.pt") for name in ("straight", "resumed")
    )
    assert all(torch.equal(straight[key], resumed[key]) for key in straight)


def test_folding_keeps_the_first_timestep(recipe: Path, cifar: Path, tmp_path: Path) -> None:
    run = Run.of(str(recipe), cifar, tmp_path / "run")
    train, rest = run.splits()
    trainer = fit.Fit(run.recipe, 10, train, rest, run.folder)
    trainer.run(resume=False)
    model = trainer.trained(0)
    for neurons in model.neurons:
        neurons.activation = "lif"
    twin = folded(model, "threshold").eval()
    frames = fit.encoded(torch.from_numpy(rest.images), trainer.table, 1).float()
    with torch.no_grad():
        torch.testing.assert_close(model(frames), twin(frames), atol=1e-3, rtol=1e-3)


def test_a_stage_may_start_from_any_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "branches.toml"
    branch = (
        RECIPE.split("[[stages]]")[1].replace('"ann"', '"relu"').replace("clipped-relu", "relu")
    )
    last = RECIPE.split("[[stages]]")[2].replace("epochs", 'after = "ann"\nepochs')
    head = "[[stages]]".join(RECIPE.split("[[stages]]")[:2])
    path.write_text("[[stages]]".join([head, f'{branch}after = "ann"\n', last]))
    recipe, _ = load_recipe(str(path))
    assert [recipe.origin(index) for index in range(3)] == [None, 0, 0]
    assert [recipe.folded(index) for index in range(3)] == [False, False, True]


def test_activity_counts_the_spikes_that_arrive_behind_a_pool() -> None:
    """What training pays for must be what the event engine pays for."""
    network = vgg(("8", "P", "6"), (8, 8, 3), 4)
    model = SpikingNetwork(network, 1, leak=1.0, normalised=False)
    arriving: list[torch.Tensor] = []
    for synapse in model.synapses[1:]:
        synapse.register_forward_pre_hook(lambda _, inputs: arriving.append(inputs[0]))
    with torch.no_grad():
        model(torch.rand(1, 5, 3, 8, 8) * 3)
    dense = [16 * 9 * 8 * 6, 16 * 6 * 4]  # MACs of the second convolution and the classifier
    paid = [count * float(x.mean()) for count, x in zip(dense, arriving, strict=True)]
    assert float(fit.activity(model)) == pytest.approx(sum(paid) / sum(dense), rel=1e-5)
    assert 0 < sum(paid) < sum(dense)


def test_calibration_never_sees_training_or_test_images() -> None:
    images = np.arange(100, dtype=np.uint8)[:, None, None, None]
    train = Split(images, np.arange(100, dtype=np.uint8))
    fitting, rest = held_out(train, 30, seed=5)
    assert sorted([*fitting.labels.tolist(), *rest.labels.tolist()]) == list(range(100))
    assert held_out(train, 30, seed=5)[1].labels.tolist() == rest.labels.tolist()


def test_only_evaluate_reads_the_test_set(
    recipe: Path, cifar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(root: Path) -> Split:
        raise AssertionError(f"test set read from {root}")

    monkeypatch.setattr(data, "cifar10_test", forbidden)
    arguments = [str(recipe), "--data", str(cifar), "--run", str(tmp_path / "run")]
    for command in ("fit", "quantize", "calibrate"):
        assert main([command, *arguments]) == 0
    assert main(["export", *arguments, "--bundle", str(tmp_path / "bundle")]) == 0
    with pytest.raises(AssertionError, match="test set read"):
        main(["evaluate", str(tmp_path / "bundle"), "--data", str(cifar)])


def test_augmentation_moves_flips_and_covers_but_keeps_shape() -> None:
    images = torch.full((64, 32, 32, 3), 200, dtype=torch.uint8)
    out = augmented(images, torch.Generator().manual_seed(0), padding=4, cutout=8)
    assert out.shape == images.shape
    assert {0, 128, 200} == set(torch.unique(out).tolist())
    plain = augmented(images, torch.Generator().manual_seed(0), padding=0, cutout=0)
    assert torch.equal(plain, images)


def test_an_epoch_shows_every_image_once() -> None:
    labels = torch.arange(40)
    batches = Batches(torch.zeros(40, 8, 8, 3, dtype=torch.uint8), labels)
    seen = [y for _, y in batches.epoch(8, torch.Generator().manual_seed(0), 0, 0)]
    assert sorted(torch.cat(seen).tolist()) == labels.tolist()


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


def test_missing_data_says_how_to_fetch(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="spiketrain data cifar10"):
        data.cifar10_train(tmp_path)


def test_damaged_data_is_refused(cifar: Path) -> None:
    np.save(cifar / "train_labels.npy", np.zeros(255, np.uint8))
    with pytest.raises(DataError, match="damaged"):
        data.cifar10_train(cifar)


def official_archive(path: Path, root: Path) -> None:
    """The stand-in data set in the layout of the official archive."""
    train, test = data.cifar10_train(root), data.cifar10_test(root)
    batches = [
        *zip(np.split(train.images, BATCHES), np.split(train.labels, BATCHES), strict=True),
        (test.images, test.labels),
    ]
    names = [*(f"data_batch_{k}" for k in range(1, BATCHES + 1)), "test_batch"]
    with tarfile.open(path, "w:gz") as archive:
        for name, (images, labels) in zip(names, batches, strict=True):
            planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
            batch = pickle.dumps({b"data": planes, b"labels": labels.tolist()}, protocol=3)
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(batch)
            archive.addfile(info, io.BytesIO(batch))


def test_official_archive_and_npm_package_decode_to_the_same(cifar: Path, tmp_path: Path) -> None:
    archive = tmp_path / "cifar-10-python.tar.gz"
    official_archive(archive, cifar)
    data.fetch_cifar10(tmp_path / "official", archive)

    package = tmp_path / "package"
    package.mkdir()
    train, test = data.cifar10_train(cifar), data.cifar10_test(cifar)
    batches = {
        f"data_batch_{k + 1}": part for k, part in enumerate(np.split(train.images, BATCHES))
    }
    for name, images in {**batches, "test_batch": test.images}.items():
        mosaic = images.reshape(len(images), 1024, 3)  # one image a row
        Image.fromarray(mosaic).save(package / f"{name}.png")
    for split, labels in (("train", train.labels), ("test", test.labels)):
        (package / f"{split}_lables.json").write_text(json.dumps(labels.tolist()))
    data.fetch_cifar10(tmp_path / "npm", package)

    for loaded in (data.cifar10_train(tmp_path / "official"), data.cifar10_train(tmp_path / "npm")):
        assert np.array_equal(loaded.images, train.images)
        assert np.array_equal(loaded.labels, train.labels)


def test_other_images_are_refused(cifar: Path, tmp_path: Path) -> None:
    archive = tmp_path / "cifar-10-python.tar.gz"
    official_archive(archive, cifar)
    data.SHA256["test_images"] = "0" * 64  # undone by the fixture
    with pytest.raises(DataError, match="not CIFAR-10"):
        data.fetch_cifar10(tmp_path / "out", archive)
    assert not (tmp_path / "out" / "test_images.npy").exists()


def test_archive_that_would_run_code_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "evil"
    folder.mkdir()
    for name in ["test_batch", *(f"data_batch_{k}" for k in range(1, 6))]:
        (folder / name).write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(DataError, match=r"refusing to unpickle os\.system"):
        data.fetch_cifar10(tmp_path / "out", folder)


def test_stage_must_have_finished_before_it_is_read(
    recipe: Path, cifar: Path, tmp_path: Path
) -> None:
    run = Run.of(str(recipe), cifar, tmp_path / "run")
    train, rest = run.splits()
    with pytest.raises(TrainingError, match="has not finished"):
        fit.Fit(run.recipe, 10, train, rest, run.folder).trained(1)
