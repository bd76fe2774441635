"""Folders that can be no data set, and names that nobody expected."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spikeserve.training.cli import main
from spikeserve.training.data.own import own_set
from tests.training.folders import HEIC, SIZE, card_of, prepared, put


def nothing(_: Path) -> None:
    """A path that leads nowhere."""


def one_class(root: Path) -> None:
    put(root / "ants" / "1.png", 1)


def no_folders(root: Path) -> None:
    put(root / "1.png", 1)


def wrapped(root: Path) -> None:
    put(root / "dataset" / "1.png", 1)


def one_picture_each(root: Path) -> None:
    for seed, name in enumerate(("ants", "bees")):
        put(root / name / "1.png", seed)


def no_train(root: Path) -> None:
    put(root / "test" / "ants" / "1.png", 1)
    put(root / "val" / "ants" / "1.png", 2)


def unknown_class(root: Path) -> None:
    for seed, name in enumerate(("train/ants", "train/bees", "val/Ants")):
        put(root / name / "1.png", seed)


def all_the_same(root: Path) -> None:
    for seed, name in enumerate(("train/ants", "train/bees", "val/ants", "val/bees")):
        put(root / name / "1.png", seed % 2)


def unreadable(root: Path) -> None:
    put(root / "ants" / "1.png", 1)
    (root / "bees").mkdir()
    (root / "bees" / "1.heic").write_bytes(HEIC)


def alike(root: Path) -> None:
    for seed, name in enumerate((b"\xff", b"\xfe")):
        put(root / os.fsdecode(name) / "1.png", seed)


def blank(root: Path) -> None:
    for seed, name in enumerate((" ", "bees")):
        put(root / name / "1.png", seed)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (nothing, "is no folder"),
        (lambda root: root.mkdir(), "no class folders"),
        (lambda root: root.write_bytes(b"x"), "is no folder"),
        (one_class, "one class with pictures, 'ants'"),
        (no_folders, "1.png: lies in no class folder"),
        (wrapped, "one class with pictures, 'dataset'"),
        (one_picture_each, "no picture is left to evaluate on"),
        (no_train, "no train/"),
        (unknown_class, "'Ants' has pictures in val/ or test/ and none in train/"),
        (all_the_same, "no picture is left to evaluate on"),
        (unreadable, "bees/1.heic: not a JPEG"),
        (alike, "read alike"),
        (blank, "has a blank name"),
    ],
)
def test_what_cannot_be_a_set_is_said_and_leaves_nothing(
    make: Callable[[Path], object],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = tmp_path / "photos"
    make(root)
    assert prepared(root) == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("spiketrain: ")
    assert said.count("\n") == 1
    assert not list((tmp_path / "data").glob("*")) + list((tmp_path / "data").glob(".*"))


def test_odd_class_names_stay_readable(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    names = ("cafe\u0301", "a b", "x\ny", os.fsdecode(b"caf\xe9"), '"quoted"', "\u732b", "…'\\")
    for index, name in enumerate(names):
        for seed in range(2):
            put(root / "train" / name / f"{seed}.png", 10 * index + seed)
    put(root / "val" / "caf\u00e9" / "0.png", 900)  # the same name, composed
    assert prepared(root) == 0
    assert card_of(root)["labels"] == sorted(
        ["caf\u00e9", "a b", "x\ufffdy", "caf\ufffd", '"quoted"', "\u732b", "…'\\"]
    )


def test_more_classes_than_a_byte_counts(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for index in range(257):
        for seed in range(3):
            folder = root / f"{index:03}"
            folder.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(3 * index + seed).integers(0, 256, (SIZE, SIZE, 3))
            Image.fromarray(noise.astype(np.uint8)).save(folder / f"{seed}.bmp")
    assert prepared(root) == 0
    test = own_set(tmp_path / "data" / "photos").test(tmp_path / "data")
    assert sorted(test.labels.tolist()) == list(range(257))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data", "folder"], "which folder?"),
        (["data", "cifar10", "photos"], "path is of folder alone"),
        (["data", "folder", "photos", "--source", "x"], "--source is of published sets"),
        (["data", "folder", "photos", "--name", "cifar10"], "published set's name"),
    ],
)
def test_options_that_do_not_belong_together(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("size", ["0", "7", "64x", "1e3", "-5", "9999", "8x8x8", "²"])
def test_sizes_that_make_no_sense(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["data", "folder", "photos", "--size", size])
    assert size in capsys.readouterr().err
