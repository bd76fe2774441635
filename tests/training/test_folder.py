"""Folders of pictures as people have them: every surprise is a sentence, nothing half-written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from spikeserve.models.preprocessing import pixels
from spikeserve.training.cli import main
from spikeserve.training.data import DATASETS, class_folders, dataset, named
from spikeserve.training.data.dataset import Split, held_out
from spikeserve.training.data.own import own_set

SIZE = 16
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)


def drawn(seed: int, side: int = 40) -> Image.Image:
    """A picture like no other: smooth, so that it survives being saved anew."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
    return Image.fromarray(small).resize((side + 8, side), Image.Resampling.BICUBIC)


def put(path: Path, seed: int, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn(seed).save(path, **options)  # type: ignore[arg-type]
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of six pictures."""
    root = tmp_path / "photos"
    for seed in range(12):
        put(root / ("ants", "bees")[seed % 2] / f"{seed}.png", seed)
    return root


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """Two classes in train/ and val/."""
    root = tmp_path / "split"
    for seed in range(16):
        side = "train" if seed < 10 else "val"
        put(root / side / ("ants", "bees")[seed % 2] / f"{seed}.png", seed)
    return root


def prepared(source: Path, *more: str) -> int:
    root = source.parent / "data"
    return main(["data", "folder", str(source), "--size", str(SIZE), "--data", str(root), *more])


def card_of(source: Path, name: str | None = None) -> dict[str, Any]:
    path = source.parent / "data" / (name or source.name) / "card.json"
    card: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return card


def left_out(source: Path) -> dict[str, str]:
    listed = card_of(source)["left_out"]
    return {one["file"]: one["why"] for one in listed}


def test_a_share_of_every_class_is_drawn_and_said(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepared(photos, "--test-share", "0.34", "--seed", "7") == 0
    card = card_of(photos)
    assert card["counts"] == {"train": [4, 4], "test": [2, 2]}
    assert card["drawn"] == {"share": 0.34, "seed": 7}
    assert "drawn with seed 7" in capsys.readouterr().out
    folder = photos.parent / "data" / "photos"
    assert sorted(path.name for path in folder.iterdir()) == [
        "card.json", "card.txt", "test_images.npy", "test_labels.npy",
        "train_images.npy", "train_labels.npy",
    ]  # fmt: skip


def test_pixels_are_those_that_the_service_would_see(split: Path) -> None:
    """Of any size, mode and orientation."""
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    put(split / "val" / "ants" / "turned.jpg", 100, exif=turned)
    drawn(101).convert("P").save(split / "val" / "ants" / "palette.png")
    drawn(102).convert("CMYK").save(split / "val" / "bees" / "print.jpg")
    drawn(103).convert("LA").save(split / "val" / "bees" / "clear.png")
    Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50).save(
        split / "val" / "bees" / "deep.png"
    )
    assert prepared(split) == 0
    test = own_set(split.parent / "data" / "split").test(split.parent / "data")
    files = [path for path in (split / "val").rglob("*") if path.is_file()]
    expected = {pixels(path, (SIZE, SIZE, 3)).tobytes() for path in files}
    assert {image.tobytes() for image in test.images} == expected
    assert len(test) == len(files) == 11


def test_shape_and_channels_are_chosen(photos: Path) -> None:
    root = photos.parent / "data"
    arguments = ["--size", "16x24", "--channels", "1", "--name", "grey", "--data", str(root)]
    assert main(["data", "folder", str(photos), *arguments]) == 0
    stored, place = named("grey", root)
    assert stored.train(place).images.shape[1:] == (16, 24, 1)
    by_path, place = named(str(root / "grey"), Path("elsewhere"))
    assert by_path.train(place).images.shape[1:] == (16, 24, 1)
    assert by_path.labels == ("ants", "bees")


def test_the_same_picture_is_never_on_both_sides(split: Path) -> None:
    train = split / "train" / "ants"
    (split / "val" / "ants" / "again.png").write_bytes((train / "0.png").read_bytes())
    Image.open(train / "2.png").save(split / "val" / "bees" / "other-format.bmp")
    Image.open(train / "4.png").save(split / "val" / "ants" / "anew.jpg", quality=80)
    Image.open(train / "6.png").resize((96, 80)).save(split / "val" / "ants" / "larger.png")
    assert prepared(split) == 0
    why = left_out(split)
    assert why["val/ants/again.png"].endswith("the same pixels as train/ants/0.png")
    assert why["val/bees/other-format.bmp"].endswith("the same pixels as train/ants/2.png")
    assert why["val/ants/anew.jpg"].endswith("nearly the same as train/ants/4.png")
    assert why["val/ants/larger.png"].endswith("nearly the same as train/ants/6.png")
    card = card_of(split)
    assert card["counts"] == {"train": [5, 5], "test": [3, 3]}
    assert any("2 pictures to evaluate on have the same pixels" in n for n in card["notes"])


def test_a_drawn_split_keeps_repeated_pictures_together(photos: Path) -> None:
    for name in ("copy.png", "second.png"):
        (photos / "ants" / name).write_bytes((photos / "ants" / "0.png").read_bytes())
    (photos / "bees" / "wrong.png").write_bytes((photos / "ants" / "2.png").read_bytes())
    assert prepared(photos, "--test-share", "0.5") == 0
    root = photos.parent / "data"
    own = own_set(root / "photos")
    train, test = ({i.tobytes() for i in s.images} for s in (own.train(root), own.test(root)))
    assert not train & test
    assert any("more than one class" in note for note in card_of(photos)["notes"])


def test_what_is_no_picture_is_listed_and_the_rest_prepared(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ants = photos / "ants"
    (ants / "notes.txt").write_text("two ants, one leaf")
    (ants / "phone.heic").write_bytes(HEIC)
    (ants / "cut.png").write_bytes((ants / "0.png").read_bytes()[:200])
    (ants / "nothing.jpg").touch()
    (ants / "gone.png").symlink_to("nowhere.png")
    (ants / "loop").symlink_to(photos, target_is_directory=True)
    frames = [drawn(seed) for seed in (200, 201)]
    frames[0].save(ants / "moving.gif", save_all=True, append_images=frames[1:])
    os.mkfifo(ants / "pipe.png")
    for litter in (photos / ".DS_Store", ants / "Thumbs.db", ants / ".hidden.png"):
        litter.write_bytes(b"\0\0\0\1Bud1")
    (photos / "README.md").write_text("mine")
    (photos / "wasps").mkdir()
    deeper = put(ants / "more" / "deeper.png", 300)
    assert prepared(photos) == 0
    why = left_out(photos)
    assert set(why) == {
        "ants/notes.txt", "ants/phone.heic", "ants/cut.png", "ants/nothing.jpg", "ants/gone.png",
        "ants/loop", "ants/moving.gif", "ants/pipe.png", "README.md",
    }  # fmt: skip
    assert "HEIC" in why["ants/phone.heic"]
    assert not any("0x" in reason for reason in why.values())  # no addresses of objects
    card = card_of(photos)
    assert card["labels"] == ["ants", "bees"]
    assert card["system_files"] == 3
    assert sum(sum(side) for side in card["counts"].values()) == 13
    assert deeper.exists()
    said = capsys.readouterr().out
    assert "left out: 9 files" in said
    assert "class folder 'wasps' holds no picture" in said


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


def test_too_many_classes_are_refused_before_anything_is_read(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(class_folders, "MOST_CLASSES", 1)
    assert prepared(photos) == 1
    assert "holds 2 folders, and each would be a class; at most 1" in capsys.readouterr().err


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


def test_a_failure_keeps_what_was_prepared_before(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepared(photos) == 0
    before = card_of(photos)
    put(photos / "ants" / "new.png", 99)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("spikeserve.training.data.folder._write", full)
        assert prepared(photos) == 1
    assert "No space left" in capsys.readouterr().err
    assert card_of(photos) == before
    assert [path.name for path in (photos.parent / "data").iterdir()] == ["photos"]
    assert prepared(photos) == 0
    assert card_of(photos) != before


def test_a_folder_of_something_else_is_not_replaced(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    precious = photos.parent / "data" / "photos" / "thesis.txt"
    precious.parent.mkdir(parents=True)
    precious.write_text("years of work")
    assert prepared(photos) == 1
    assert "holds something else" in capsys.readouterr().err
    assert precious.read_text() == "years of work"


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


def test_large_sets_stay_on_disk(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert prepared(photos) == 0
    monkeypatch.setattr(dataset, "LARGEST_COPY", 0)
    root = photos.parent / "data"
    train = own_set(root / "photos").train(root)
    parts = held_out(train, 3, seed=1)
    assert all(isinstance(part.images, np.memmap) for part in (train, *parts))
    assert all(np.shares_memory(part.images, train.images) for part in parts)
    assert {*map(bytes, parts[0].images), *map(bytes, parts[1].images)} == {
        *map(bytes, train.images)
    }
    assert isinstance(Split(train.images, train.labels).head(0.5).images, np.memmap)


def test_damage_is_noticed(photos: Path) -> None:
    from spikeserve.training.errors import DataError

    assert prepared(photos) == 0
    root = photos.parent / "data"
    path = root / "photos" / "train_images.npy"
    body = bytearray(path.read_bytes())
    body[-1] ^= 1
    path.write_bytes(body)
    with pytest.raises(DataError, match="damaged; run: spiketrain data folder"):
        own_set(root / "photos").train(root)
    with pytest.raises(DataError, match=r"no data set 'wasps'.*photos"):
        named("wasps", root)
    assert "photos" not in DATASETS
