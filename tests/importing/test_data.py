"""Inputs and labels of any shape and type: taken rightly, or refused with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from spikeserve.importing.data.labels import class_names
from spikeserve.importing.data.loading import Data, arranged, loaded
from spikeserve.importing.errors import ImportRefused

SHAPE = (4, 5, 3)
DRAW = np.random.default_rng(0)
IMAGES = DRAW.integers(0, 256, (12, *SHAPE)).astype(np.uint8)
FRAMES = DRAW.poisson(0.5, (6, 7, *SHAPE)).astype(np.uint8)


def load(folder: Path, array: Any, labels: Any = None, **options: Any) -> Data:
    path = folder / "data.npy"
    np.save(path, array)
    told = None
    if labels is not None:
        told = folder / "labels.npy"
        np.save(told, labels)
    shape = options.pop("shape", SHAPE)
    return loaded(path, told, shape, 3, options.pop("timesteps", 7), **options)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_channels_first_and_last_are_told_apart_by_shape(tmp_path: Path, dtype: Any) -> None:
    for array in (IMAGES, IMAGES.transpose(0, 3, 1, 2)):
        np.testing.assert_array_equal(load(tmp_path, array.astype(dtype)).values, IMAGES)
    for array in (FRAMES, FRAMES.transpose(0, 1, 4, 2, 3)):
        np.testing.assert_array_equal(load(tmp_path, array.astype(dtype)).values, FRAMES)


def test_grey_images_need_no_channel(tmp_path: Path) -> None:
    data = load(tmp_path, IMAGES[..., 0], shape=(4, 5, 1))
    np.testing.assert_array_equal(data.values, IMAGES[..., :1])


def test_pixels_from_0_to_1_are_noticed(tmp_path: Path) -> None:
    data = load(tmp_path, (IMAGES / 255).astype(np.float32))
    np.testing.assert_array_equal(data.values, IMAGES)
    assert any("0…1" in note for note in data.notes)


def test_shapes_that_could_be_both_are_refused_unless_told(tmp_path: Path) -> None:
    cubes = DRAW.integers(0, 256, (9, 3, 3, 3)).astype(np.uint8)
    with pytest.raises(ImportRefused, match=r"could be hwc or chw; say which: --layout"):
        load(tmp_path, cubes, shape=(3, 3, 3))
    first = load(tmp_path, cubes, shape=(3, 3, 3), layout="chw")
    np.testing.assert_array_equal(first.values, cubes.transpose(0, 2, 3, 1))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (IMAGES[:, :3], r"inputs of shape \(12, 3, 5, 3\) do not fit"),
        (IMAGES[:0], "no inputs"),
        (IMAGES.astype(np.int64) * 2, "grey levels 0…255"),
        ((IMAGES / 255 - 0.5).astype(np.float32), "--mean and --std"),
        (IMAGES.astype(np.float32) / 255 * np.nan, "input 0 .*not finite"),
        ((IMAGES > 128).astype(np.uint8), "0…1 cast"),
        (np.array([{"a": 1}], object), "Python objects"),
        (np.full((12, *SHAPE), "x"), "numbers are expected"),
        (IMAGES * 0, "all pixels are 0"),
        (FRAMES[:, :5], "recordings of 5 frames"),
        (FRAMES + 0.5, "whole numbers"),
        (FRAMES * 0, "empty"),
        (FRAMES.astype(np.int16) - 1, "events"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, array: Any, message: str) -> None:
    with pytest.raises(ImportRefused, match=message):
        load(tmp_path, array)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(11) % 3, "11 labels for 12 inputs"),
        (np.arange(12) % 3 + 1, "count from 1"),
        (np.arange(12) - 2, "labels from -2"),
        (np.full(12, 0.5), "whole numbers"),
        (np.full(12, np.nan), "whole numbers"),
        (np.full(12, "cat"), "whole numbers"),
        (np.zeros((12, 2, 2)), "one number an input"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, labels: Any, message: str) -> None:
    with pytest.raises(ImportRefused, match=message):
        load(tmp_path, IMAGES, labels)


def test_labels_may_be_one_hot_or_lines_of_text(tmp_path: Path) -> None:
    expected = np.arange(12) % 3
    one_hot = load(tmp_path, IMAGES, np.eye(3)[expected])
    np.testing.assert_array_equal(one_hot.labels, expected)
    text = tmp_path / "labels.txt"
    text.write_text("\n".join(map(str, expected)))
    lines = loaded(tmp_path / "data.npy", text, SHAPE, 3, 7)
    np.testing.assert_array_equal(lines.labels, expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "no .npy"), (b"\x93NUMPY\x01\x00", "cannot be read"), (b"PK\x03\x04", "cannot be read")],
)
def test_damaged_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "data.npy"
    path.write_bytes(content)
    with pytest.raises(ImportRefused, match=message):
        loaded(path, None, SHAPE, 3, 7)
    with pytest.raises(ImportRefused, match="does not exist"):
        loaded(tmp_path / "nothing.npy", None, SHAPE, 3, 7)


def test_archives_are_searched_for_images_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "all.npz"
    np.savez(path, images=IMAGES, labels=np.arange(12) % 3, other=np.zeros(3))
    data = loaded(path, None, SHAPE, 3, 7)
    assert data.labels is not None
    np.testing.assert_array_equal(data.values, IMAGES)
    np.savez(path, one=IMAGES, two=IMAGES)
    with pytest.raises(ImportRefused, match="has one, two; one of images"):
        loaded(path, None, SHAPE, 3, 7)


def test_many_inputs_are_taken_evenly_with_the_first_ones(tmp_path: Path) -> None:
    many = np.repeat(IMAGES, 30, axis=0)
    data = load(tmp_path, many, np.arange(360) % 3, limit=50)
    np.testing.assert_array_equal(data.values[:64], many[:64])
    assert 64 < len(data) < 115
    assert data.labels is not None
    assert len(data.labels) == len(data)


def test_folders_of_classes_are_read_as_the_service_would(tmp_path: Path) -> None:
    for label, name in enumerate(("ant", "bee", "cat")):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".DS_Store").write_bytes(b"x")
        Image.fromarray(IMAGES[label]).save(tmp_path / name / "a.png")
    data = loaded(tmp_path, None, SHAPE, 3, 7)
    np.testing.assert_array_equal(data.values, IMAGES[:3])
    assert data.class_names == ("ant", "bee", "cat")
    with pytest.raises(ImportRefused, match=r"3 folders .* 4 classes"):
        loaded(tmp_path, None, SHAPE, 4, 7)
    (tmp_path / "bee" / "b.png").write_bytes(b"no image")
    with pytest.raises(ImportRefused, match=r"b\.png"):
        loaded(tmp_path, None, SHAPE, 3, 7)


def test_class_names_are_as_many_as_classes(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("ant\nbee\n")
    assert class_names(path, 2, None) == ("ant", "bee")
    with pytest.raises(ImportRefused, match="2 names for 3 classes"):
        class_names(path, 3, None)
    path.write_text("ant\nant\n")
    with pytest.raises(ImportRefused, match="same name"):
        class_names(path, 2, None)
    assert class_names(None, 2, None) == ("0", "1")


def test_one_channel_before_the_map_is_no_time() -> None:
    notes: list[str] = []
    pixels = np.arange(3 * 16).reshape(3, 1, 4, 4)
    found = arranged(pixels, (4, 4, 1), "array", None, notes)
    assert (found[..., 0] == pixels[:, 0]).all()
    assert found.shape == (3, 4, 4, 1)
