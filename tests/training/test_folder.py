"""Folders of pictures as people have them: every surprise is a sentence, nothing half-written."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from spikeserve.models.preprocessing import pixels
from spikeserve.training.cli import main
from spikeserve.training.data import DATASETS, class_folders, dataset, named
from spikeserve.training.data.dataset import Split, held_out
from spikeserve.training.data.own import own_set
from spikeserve.training.errors import DataError
from tests.training.folders import HEIC, SIZE, card_of, drawn, left_out, prepared, put


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


def test_too_many_classes_are_refused_before_anything_is_read(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(class_folders, "MOST_CLASSES", 1)
    assert prepared(photos) == 1
    assert "holds 2 folders, and each would be a class; at most 1" in capsys.readouterr().err


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
