"""One way from an image to pixels: its bits are fixed, and whatever is no image is refused."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spikeserve.models.errors import InvalidImage
from spikeserve.models.layers import Shape
from spikeserve.models.preprocessing import fitted, pixels
from tests.hostile.files import PHOTO, animated_gif, cut, mpo, rotated_jpeg, saved

GREY = np.asarray(PHOTO.convert("L"))


def picture(mode: str) -> Image.Image:
    """``PHOTO`` in a mode, with some of it transparent where the mode can have that."""
    if mode == "I;16":
        return Image.fromarray(GREY.astype(np.uint16) * 257)
    if mode == "F":
        return Image.fromarray(GREY.astype(np.float32) * 257)
    image = PHOTO.convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(GREY))
    return image


BITS = {
    ("1", (32, 32, 3)): "8994e9cddb9fe707",
    ("1", (28, 28, 1)): "6ba9c79aa0bf58a7",
    ("L", (32, 32, 3)): "d0f8c6e39f650fa5",
    ("L", (28, 28, 1)): "818c4d24eed6e0d4",
    ("LA", (32, 32, 3)): "dfda715d3583ae75",
    ("LA", (28, 28, 1)): "bc9d31081af09137",
    ("P", (32, 32, 3)): "02a8ddf5eee9f369",
    ("P", (28, 28, 1)): "1225dab06d76ea7f",
    ("P", (40, 60, 3)): "f81de209b714af3c",
    ("RGB", (32, 32, 3)): "c7b433bfe4efde04",
    ("RGB", (28, 28, 1)): "334ca0715671961b",
    ("RGBA", (32, 32, 3)): "73fdfcded8263d5b",
    ("RGBA", (28, 28, 1)): "affbe4d45d1218b7",
    ("RGBA", (40, 60, 3)): "7ebccab6eed0265d",
    ("CMYK", (32, 32, 3)): "c7b433bfe4efde04",
    ("CMYK", (28, 28, 1)): "334ca0715671961b",
    ("YCbCr", (32, 32, 3)): "3a94e2438e8304ef",
    ("YCbCr", (28, 28, 1)): "5152a7f35f780db8",
    ("I;16", (32, 32, 3)): "fbb411567559fbcf",
    ("I;16", (28, 28, 1)): "09c8c5562587934c",
    ("I;16", (40, 60, 3)): "de3bfc4e079784d9",
    ("F", (32, 32, 3)): "fbb411567559fbcf",
    ("F", (28, 28, 1)): "09c8c5562587934c",
}
"""Of uint8 pixels in C order. Images without losses only: JPEG decoders may differ by a bit."""


@pytest.mark.parametrize(("mode", "shape"), BITS)
def test_the_bits_of_pixels_do_not_change(mode: str, shape: Shape) -> None:
    found = fitted(picture(mode), shape)
    assert found.shape == shape
    assert found.dtype == np.uint8
    assert hashlib.sha256(found.tobytes()).hexdigest()[:16] == BITS[mode, shape]


def test_every_kind_of_source_gives_the_same_pixels(tmp_path: Path) -> None:
    png = saved(PHOTO, "PNG")
    (tmp_path / "photo.png").write_bytes(png)
    sources = (png, tmp_path / "photo.png", str(tmp_path / "photo.png"), PHOTO, np.asarray(PHOTO))
    expected = fitted(PHOTO, (32, 32, 3))
    for source in sources:
        assert np.array_equal(pixels(source, (32, 32, 3)), expected)


def test_an_array_of_the_networks_size_passes_untouched() -> None:
    for shape in ((16, 24, 3), (16, 24, 1)):
        array = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        assert np.array_equal(pixels(array, shape), array)


def test_the_callers_image_stays_as_it_is() -> None:
    large = saved(PHOTO.resize((1200, 800)), "JPEG")
    with Image.open(io.BytesIO(large)) as image:
        pixels(image, (32, 32, 3))
        assert image.size == (1200, 800)


def test_turned_and_further_pictures_are_taken_as_the_service_takes_them() -> None:
    upright = pixels(rotated_jpeg(), (60, 40, 3))
    assert np.abs(upright.astype(int) - np.asarray(PHOTO.rotate(270, expand=True))).mean() < 5
    assert pixels(mpo(), (8, 8, 3)).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", "no image that can be decoded"),
        (cut(saved(PHOTO, "PNG")), "no image that can be decoded"),
        (animated_gif(), "animated"),
        (np.zeros((8, 8, 3)), "uint8"),
        (np.zeros((8, 8), np.uint8), r"\[H, W, C\]"),
        (np.zeros((8, 8, 2), np.uint8), "channels"),
        (np.zeros((0, 8, 3), np.uint8), r"\[0, 8, 3\]"),
        (3, "not int"),
    ],
)
def test_what_is_no_image_is_refused(source: object, message: str) -> None:
    with pytest.raises(InvalidImage, match=message):
        pixels(source, (4, 4, 3))  # type: ignore[arg-type]


def test_a_missing_file_is_an_error_of_the_file_system() -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        pixels("nowhere.jpg", (4, 4, 3))
