"""What is told of image files before they are decoded, and one rule for those that are cut."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from spikeserve.models.containers import FORMATS, container_of
from spikeserve.models.containers.signatures import kind_of
from spikeserve.models.errors import InvalidImage, UnknownFormat
from spikeserve.models.preprocessing import pixels
from tests.hostile.files import PHOTO, REFUSED, cut, png_with, saved, text
from tests.pictures import chunk

SHAPE = (32, 32, 3)
NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 60, 3)).astype(np.uint8))
LARGE = NOISE.resize((300, 200))  # decoded at a half, where it is a JPEG
EXIF = Image.Exif()
EXIF[0x0112] = 6

WHOLE: dict[str, tuple[Callable[[], bytes], int]] = {
    "png": (lambda: saved(NOISE, "PNG"), 12),
    "palette png": (lambda: saved(NOISE.convert("P"), "PNG"), 12),
    "black png": (lambda: saved(Image.new("RGB", (60, 40)), "PNG"), 12),
    "jpeg": (lambda: saved(NOISE, "JPEG"), 2),
    "large jpeg": (lambda: saved(LARGE, "JPEG"), 2),
    "progressive jpeg": (lambda: saved(NOISE, "JPEG", progressive=True), 2),
    "large progressive jpeg": (lambda: saved(LARGE, "JPEG", progressive=True), 2),
    "jpeg with restarts": (lambda: saved(LARGE, "JPEG", restart_marker_blocks=2), 2),
    "grey jpeg": (lambda: saved(NOISE.convert("L"), "JPEG"), 2),
    "cmyk jpeg": (lambda: saved(NOISE.convert("CMYK"), "JPEG"), 2),
    "flat jpeg": (lambda: saved(Image.new("RGB", (60, 40), (128, 128, 128)), "JPEG"), 2),
    "gif": (lambda: saved(NOISE, "GIF"), 2),
    "bmp": (lambda: saved(NOISE, "BMP"), 0),
    "lossy webp": (lambda: saved(NOISE, "WEBP"), 0),
    "lossless webp": (lambda: saved(NOISE, "WEBP", lossless=True), 0),
}
"""Files, and how many bytes at their end are no pixels."""


@pytest.mark.parametrize("name", list(WHOLE))
def test_a_cut_file_gives_the_whole_picture_or_none(name: str) -> None:
    make, end = WHOLE[name]
    data = make()
    whole = pixels(data, SHAPE)
    lengths = {*range(len(data) - 40, len(data)), *range(16, len(data), len(data) // 60)}
    for length in sorted(lengths):
        try:
            found = pixels(data[:length], SHAPE)
        except InvalidImage:
            assert length < len(data) - end, "all pixels are there"
        else:
            assert np.array_equal(found, whole)


@pytest.mark.parametrize("behind", [False, True])
def test_texts_and_profiles_are_never_inflated(
    behind: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def inflate(_: bytes) -> bytes:
        raise AssertionError("something was inflated that is no pixel")

    monkeypatch.setattr(PngImagePlugin, "_safe_zlib_decompress", inflate)
    expected = pixels(saved(PHOTO, "PNG"), SHAPE)
    for kind in (b"zTXt", b"iTXt", b"iCCP"):
        assert np.array_equal(pixels(png_with(text(kind), behind=behind), SHAPE), expected)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_orientation_survives(format: str) -> None:
    turned = pixels(saved(PHOTO, format, exif=EXIF), (60, 40, 3))
    upright = pixels(saved(PHOTO, format), (40, 60, 3))
    assert np.array_equal(turned, np.rot90(upright, -1))


def test_orientation_may_stand_behind_the_pixels() -> None:
    behind = png_with(chunk(b"eXIf", EXIF.tobytes().removeprefix(b"Exif\0\0")), behind=True)
    assert np.array_equal(pixels(behind, (60, 40, 3)), np.rot90(np.asarray(PHOTO), -1))


def test_what_lies_behind_a_jpeg_changes_nothing() -> None:
    jpeg = saved(PHOTO, "JPEG")
    for more in (jpeg, b"\xff\xda" * 1000, b"\xff\xc0\0\x04", bytes(1000)):
        assert np.array_equal(pixels(jpeg + more, SHAPE), pixels(jpeg, SHAPE))


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_of_a_known_kind_is_damaged_never_unknown(format: str) -> None:
    generator = random.Random(format)
    data = saved(PHOTO, format)
    for _ in range(200):
        place = generator.randrange(12, 80)
        broken = data[:place] + generator.randbytes(3) + data[place + 3 :]
        with contextlib.suppress(InvalidImage):
            assert container_of(broken).format == format
        assert kind_of(broken, FORMATS) == format


@pytest.mark.parametrize("name", [name for name, (_, status) in REFUSED.items() if status == 415])
def test_other_kinds_are_unknown(name: str) -> None:
    with pytest.raises(UnknownFormat, match="not a JPEG, PNG, WEBP, GIF or BMP image"):
        container_of(REFUSED[name][0]())


def test_python_reads_whatever_pillow_reads() -> None:
    assert np.array_equal(pixels(saved(PHOTO, "TIFF"), (40, 60, 3)), np.asarray(PHOTO))
    with pytest.raises(InvalidImage, match="no image"):
        pixels(cut(saved(PHOTO, "TIFF")), SHAPE)


def test_python_keeps_pillows_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InvalidImage, match="MAX_IMAGE_PIXELS"):
        pixels(saved(PHOTO, "PNG"), SHAPE)
