"""What a stranger's image may cost, told before it is decoded."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spikeserve.models.containers.container import WORKSPACE_BYTES
from spikeserve.service.errors import UnusableImage
from spikeserve.service.images import MAX_WORK, decode_image, inspect
from tests.hostile.files import PHOTO, giant_png, jpeg_of_many_scans, png_with, saved, text
from tests.pictures import GREY, RGB, RGBA, chunk, gif, png

MAX_PIXELS = 64_000_000
SHAPE = (32, 32, 3)
LARGE = Image.fromarray(np.random.default_rng(2).integers(0, 256, (1500, 2000, 3)).astype(np.uint8))


@pytest.mark.parametrize(
    ("data", "small"),
    [
        (saved(PHOTO, "PNG"), True),
        (saved(PHOTO.convert("P"), "PNG"), True),
        (png_with(*[text(length=1_000_000)] * 7), True),
        (png_with(chunk(b"teXt") * 100), False),
        (png_with(chunk(b"IDAT") * 100), False),
        (png_with(chunk(b"eXIf", bytes(2000))), False),
        (saved(PHOTO.resize((100, 100)), "PNG"), False),
        (saved(PHOTO, "JPEG"), False),
    ],
)
def test_small_is_what_takes_no_time(data: bytes, small: bool) -> None:
    assert inspect(data, MAX_PIXELS, SHAPE).small is small


def test_scans_make_work() -> None:
    few, many = jpeg_of_many_scans(16, (8000, 8000)), jpeg_of_many_scans(99, (8000, 8000))
    assert inspect(few, MAX_PIXELS).work < MAX_WORK
    with pytest.raises(UnusableImage, match="too long"):
        decode_image(many, SHAPE, MAX_PIXELS)
    with pytest.raises(UnusableImage, match="too long"):  # twice more, to see whether it is cut
        decode_image(few[:-2], SHAPE, MAX_PIXELS)
    assert decode_image(jpeg_of_many_scans(99), SHAPE, MAX_PIXELS).shape == SHAPE


@pytest.mark.parametrize(
    "data",
    [
        giant_png(),
        jpeg_of_many_scans(12, (30_000, 30_000)),
        saved(PHOTO, "GIF")[:6] + b"\x30\x75\x30\x75" + saved(PHOTO, "GIF")[10:],
        saved(PHOTO, "BMP")[:18] + b"\x30\x75\0\0\x30\x75\0\0" + saved(PHOTO, "BMP")[26:],
    ],
    ids=["PNG", "JPEG", "GIF", "BMP"],
)
def test_pixels_are_bounded_before_they_are_decoded(data: bytes) -> None:
    for look in (lambda: inspect(data, MAX_PIXELS), lambda: decode_image(data, SHAPE, MAX_PIXELS)):
        with pytest.raises(UnusableImage, match="30000 x 30000 pixels"):
            look()


def test_a_jpeg_takes_what_its_fraction_takes() -> None:
    photo = saved(LARGE, "JPEG")
    assert inspect(photo, MAX_PIXELS, SHAPE).memory_bytes < 2 * WORKSPACE_BYTES + 2 * len(photo)
    assert inspect(photo, MAX_PIXELS, (2000, 1500, 3)).memory_bytes > 2000 * 1500 * 4


def large_files() -> Iterator[tuple[str, bytes]]:
    array = np.asarray(LARGE).astype(int)
    for mode in ("1", "L", "P", "RGB", "RGBA", "LA"):
        image = LARGE.convert(mode)
        if mode in ("RGBA", "LA"):
            image.putalpha(LARGE.getchannel(0))
        yield f"PNG {mode}", saved(image, "PNG", compress_level=1)
        if mode in ("RGB", "RGBA"):
            for lossless in (False, True):
                options = {"lossless": lossless, "quality": 30, "method": 0}
                yield f"WEBP {mode} {lossless}", saved(image, "WEBP", **options)
        if mode in ("L", "P", "RGB", "RGBA"):
            yield f"BMP {mode}", saved(image, "BMP")
    for mode in ("L", "RGB", "CMYK"):
        for progressive in (False, True):
            jpeg = saved(LARGE.convert(mode), "JPEG", progressive=progressive, subsampling=0)
            yield f"JPEG {mode} {progressive}", jpeg
            yield f"JPEG {mode} {progressive} without its end", jpeg[:-2]
    yield "PNG 16 bits, transparent", png(array[..., :1] * 257, GREY, 16, transparency=b"\1\1")
    yield "PNG 48 bits, transparent", png(array * 257, RGB, 16, transparency=b"\1\1" * 3)
    yield "PNG 64 bits", png(np.dstack([array, array[..., 0]]) * 257, RGBA, 16)
    yield "PNG, transparent", png(array, RGB, transparency=bytes(6))
    for corner in ((0, 0), (1, 1)):
        yield f"GIF {corner}", gif(array[..., 0], bytes(range(256)) * 3, canvas=(2001, 1501),
                                   corner=corner, transparent=7)  # fmt: skip


PEAK = """
import sys
from spikeserve.service.images import decode_image, inspect
from tests.hostile.files import PHOTO, saved

def status(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

for format in ("PNG", "JPEG", "WEBP", "GIF", "BMP"):
    decode_image(saved(PHOTO, format), (32, 32, 3), 10_000)
data = open(sys.argv[1], "rb").read()
told = inspect(data, 64_000_000, (32, 32, 3)).memory_bytes
open("/proc/self/clear_refs", "w").write("5")
before = status("VmRSS")
decode_image(data, (32, 32, 3), 64_000_000)
print(told, status("VmHWM") - before)
"""


@pytest.mark.verify
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is asked of Linux")
def test_no_format_takes_more_memory_than_told(tmp_path: Path) -> None:
    file = tmp_path / "image"
    for name, data in large_files():
        file.write_bytes(data)
        command = [sys.executable, "-c", PEAK, str(file)]
        root = str(Path(__file__).parents[2])
        printed = subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=root, env=os.environ
        ).stdout
        told, taken = map(int, printed.split())
        print(f"{name:40s} told {told / 2**20:6.1f} MiB, taken {taken / 2**20:6.1f}")
        assert taken <= told, name
