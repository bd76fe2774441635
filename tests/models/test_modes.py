"""Every mode, depth and kind of transparency against a pipeline of a few lines of numpy.

The files are written byte by byte (``tests/pictures.py``), so that nothing here asks a decoder
what a decoder should say.
"""

from __future__ import annotations

import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from spikeserve.models.preprocessing import pixels
from tests.hostile.files import saved
from tests.pictures import (
    CHANNELS,
    GREY,
    GREY_ALPHA,
    PALETTE,
    RGB,
    RGBA,
    Samples,
    bmp,
    gif,
    png,
)

HEIGHT, WIDTH = 9, 7
RNG = np.random.default_rng(5)
COLOURS = RNG.integers(0, 256, (256, 3)).astype(np.uint8)
Floats = NDArray[np.float64]


def on_white(colour: Floats, alpha: Floats) -> Floats:
    """``[H, W, 3]`` of 0…1 with ``[H, W]`` of 0…1 to 0…255."""
    return 255 * (colour * alpha[..., None] + 1 - alpha[..., None])


def colours(samples: Samples, colour: int, depth: int, transparency: bytes | None) -> Floats:
    """What the PNG specification says of samples."""
    largest = (1 << depth) - 1
    alpha = np.ones(samples.shape[:2])
    if colour == PALETTE:
        opacity = np.ones(256)
        known = np.frombuffer(transparency or b"", np.uint8)[:256] / 255
        opacity[: len(known)] = known
        return on_white(COLOURS[samples[..., 0]] / 255, opacity[samples[..., 0]])
    if colour in (GREY_ALPHA, RGBA):
        alpha, samples = samples[..., -1] / largest, samples[..., :-1]
    elif transparency is not None:
        clear = struct.unpack(f">{len(transparency) // 2}H", transparency)
        alpha = 1.0 - (samples == np.array(clear) % (largest + 1)).all(2)
    return on_white(np.broadcast_to(samples / largest, (*samples.shape[:2], 3)), alpha)


def assert_close(found: NDArray[np.uint8], expected: Floats) -> None:
    assert np.abs(found - expected).max() <= 1.2  # 16 bits lose their lower eight, unrounded


KINDS = [
    *((GREY, depth) for depth in (1, 2, 4, 8, 16)),
    *((RGB, depth) for depth in (8, 16)),
    *((PALETTE, depth) for depth in (1, 2, 4, 8)),
    *((GREY_ALPHA, depth) for depth in (8, 16)),
    *((RGBA, depth) for depth in (8, 16)),
]


def transparencies(samples: Samples, colour: int) -> list[bytes | None]:
    """None, of one pixel, of no pixel, of bits beyond the depth; for palettes of some entries."""
    if colour == PALETTE:
        partial = bytes(RNG.integers(0, 256, 256).astype(np.uint8))
        return [None, b"\0", b"\xff\0\x80", bytes(256), partial, partial + b"\0\0"]
    if colour in (GREY_ALPHA, RGBA):
        return [None]
    present = samples[4, 3].astype(">u2").tobytes()
    absent = (samples.max() - samples[4, 3] + 1).astype(">u2").tobytes()
    return [None, present, absent]


@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_png(colour: int, depth: int) -> None:
    samples = RNG.integers(0, 1 << depth, (HEIGHT, WIDTH, CHANNELS[colour]))
    for transparency in transparencies(samples, colour):
        for laced in (False, True):
            file = png(
                samples, colour, depth, palette=COLOURS.tobytes()[: 3 << depth] if colour == PALETTE
                else b"", transparency=transparency, laced=laced,
            )  # fmt: skip
            expected = colours(samples, colour, depth, transparency)
            assert_close(pixels(file, (HEIGHT, WIDTH, 3)), expected)
            grey = expected @ (0.299, 0.587, 0.114)
            assert_close(pixels(file, (HEIGHT, WIDTH, 1)), grey[..., None])


@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_transparency_does_not_bleed(colour: int, depth: int) -> None:
    """One half is black and transparent, the other white: no pixel between may be darker."""
    largest = (1 << depth) - 1
    samples = np.zeros((64, 96, CHANNELS[colour]), int)
    samples[:, 48:] = 1 if colour == PALETTE else largest
    clear = {GREY: b"\0\0", RGB: bytes(6), PALETTE: b"\0"}.get(colour)
    file = png(samples, colour, depth, palette=b"\0\0\0\xff\xff\xff" if colour == PALETTE else b"",
               transparency=clear)  # fmt: skip
    assert pixels(file, (8, 8, 3)).min() == 255


def test_a_sixteen_bit_colour_is_transparent_only_if_all_bits_are() -> None:
    samples = np.full((4, 4, 3), 0x1234)
    samples[0, 0] = 0x1235
    found = pixels(png(samples, RGB, 16, transparency=samples[1, 1].astype(">u2").tobytes()),
                   (4, 4, 3))  # fmt: skip
    assert found[0, 0].max() < 20
    assert found[1:].min() == 255


@pytest.mark.parametrize("transparent", [None, 3])
def test_a_gif_shows_white_where_its_frame_is_not(transparent: int | None) -> None:
    indices = RNG.integers(0, 8, (HEIGHT, WIDTH))
    alpha = np.ones((HEIGHT, WIDTH)) - (indices == (-1 if transparent is None else transparent))
    picture = on_white(COLOURS[indices] / 255, alpha)
    whole = gif(indices, COLOURS.tobytes(), transparent=transparent)
    assert_close(pixels(whole, (HEIGHT, WIDTH, 3)), picture)
    part = gif(indices, COLOURS.tobytes(), canvas=(12, 11), corner=(3, 1), transparent=transparent)
    expected = np.full((11, 12, 3), 255.0)
    expected[1 : 1 + HEIGHT, 3 : 3 + WIDTH] = picture
    assert_close(pixels(part, (11, 12, 3)), expected)


def bmp_files() -> dict[str, tuple[bytes, Floats]]:
    rgb = RNG.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    alpha = RNG.integers(0, 256, (HEIGHT, WIDTH, 1)).astype(np.uint8)
    opaque, bgr = rgb.astype(float), rgb[..., ::-1]
    bgra = np.concatenate([bgr, alpha], 2)
    indices = RNG.integers(0, 16, (HEIGHT, WIDTH))
    table = b"".join(bytes(colour[::-1]) + b"\0" for colour in COLOURS[:16])
    nibbles = np.pad(indices, ((0, 0), (0, WIDTH % 2)))
    halves = (nibbles[:, ::2] << 4 | nibbles[:, 1::2]).astype(np.uint8)
    bits = RNG.integers(0, 2, (HEIGHT, WIDTH))
    five = (rgb >> 3).astype(int)
    values = five[..., 0] << 10 | five[..., 1] << 5 | five[..., 2]
    values565 = five[..., 0] << 11 | (rgb[..., 1] >> 2).astype(int) << 5 | five[..., 2]
    six = np.stack([five[..., 0] / 31, (rgb[..., 1] >> 2) / 63, five[..., 2] / 31], 2)
    runs = [b"".join(bytes((1, i)) for i in row) + b"\0\0" for row in indices[::-1].tolist()]

    def lines(array: NDArray[np.integer]) -> list[bytes]:
        return [row.tobytes() for row in array]

    colour_masks = (0xFF0000, 0xFF00, 0xFF)
    return {
        "24 bits": (bmp(lines(bgr), WIDTH, 24), opaque),
        "24 bits, downwards": (bmp(lines(bgr), WIDTH, 24, downwards=True), opaque),
        "32 bits, the fourth unused": (bmp(lines(bgra), WIDTH, 32), opaque),
        "32 bits, three masks": (bmp(lines(bgra), WIDTH, 32, masks=colour_masks), opaque),
        "32 bits, alpha": (
            bmp(lines(bgra), WIDTH, 32, masks=(*colour_masks, 0xFF000000)),
            on_white(rgb / 255, alpha[..., 0] / 255),
        ),
        "16 bits, 555": (bmp(lines(values.astype("<u2")), WIDTH, 16), five / 31 * 255),
        "16 bits, 565": (
            bmp(lines(values565.astype("<u2")), WIDTH, 16, masks=(0xF800, 0x7E0, 0x1F)),
            six * 255,
        ),
        "8 bits": (
            bmp(lines(indices.astype(np.uint8)), WIDTH, 8, palette=table),
            COLOURS[indices].astype(float),
        ),
        "4 bits": (bmp(lines(halves), WIDTH, 4, palette=table), COLOURS[indices].astype(float)),
        "1 bit": (
            bmp([np.packbits(row).tobytes() for row in bits], WIDTH, 1, palette=table[:8]),
            COLOURS[bits].astype(float),
        ),
        "run lengths": (
            bmp([*runs, b"\0\1"], WIDTH, 8, palette=table, compression=1)
            .replace(struct.pack("<ii", WIDTH, HEIGHT + 1), struct.pack("<ii", WIDTH, HEIGHT)),
            COLOURS[indices].astype(float),
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", list(bmp_files()))
def test_bmp(name: str) -> None:
    file, expected = bmp_files()[name]
    assert_close(pixels(file, (HEIGHT, WIDTH, 3)), expected)


def test_lossless_webp_with_alpha() -> None:
    rgba = RNG.integers(0, 256, (HEIGHT, WIDTH, 4)).astype(np.uint8)
    file = saved(Image.fromarray(rgba), "WEBP", lossless=True, exact=True)
    expected = on_white(rgba[..., :3] / 255, rgba[..., 3] / 255)
    assert_close(pixels(file, (HEIGHT, WIDTH, 3)), expected)


@pytest.mark.parametrize(
    ("mode", "ink", "rgb"),
    [
        ("L", 70, (70, 70, 70)),
        ("RGB", (200, 90, 30), (200, 90, 30)),
        ("CMYK", (55, 165, 225, 0), (200, 90, 30)),
        ("YCbCr", (116, 79, 187), (199, 91, 29)),
    ],
)
@pytest.mark.parametrize("size", [8, 400])
def test_jpeg_colour_spaces(
    mode: str, ink: tuple[int, ...], rgb: tuple[int, int, int], size: int
) -> None:
    for options in ({}, {"progressive": True}):
        file = saved(Image.new(mode, (size, size), ink), "JPEG", quality=100, **options)
        assert np.abs(pixels(file, (8, 8, 3)) - np.array(rgb, float)).max() <= 3
