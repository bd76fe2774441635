"""The files and bodies the service defends against, made here so that the repository holds none."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

RNG = np.random.default_rng(7)
# Smooth, so that lossy formats keep it; different in every corner, so that turning shows.
ROWS, COLUMNS = np.mgrid[0:40, 0:60]
PHOTO = Image.fromarray(
    np.stack([ROWS * 6, COLUMNS * 4, (ROWS + COLUMNS) * 2], axis=2).astype(np.uint8)
)


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def cut(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


def giant_png(width: int = 30_000, height: int = 30_000) -> bytes:
    """A tiny file that claims to be enormous."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def animated_gif() -> bytes:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "green", "blue")]
    return saved(frames[0], "GIF", save_all=True, append_images=frames[1:])


def rotated_jpeg() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # camera held upright
    return saved(PHOTO, "JPEG", exif=exif)


def sixteen_bit_png() -> bytes:
    grey = RNG.integers(0, 65536, (30, 30)).astype(np.uint16)
    return saved(Image.fromarray(grey), "PNG")


def gif_with_a_cut_end() -> bytes:
    return saved(PHOTO, "GIF")[:-1] + b","


def jpeg_of_many_scans() -> bytes:
    """Each further scan costs the decoder a pass over the picture."""
    jpeg = saved(PHOTO, "JPEG", progressive=True)
    last = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    return jpeg[:-2] + last * 200 + jpeg[-2:]


def jpeg_with_broken_exif() -> bytes:
    """A good orientation beside a resolution (0x011a) that is text."""
    orientation = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    resolution = struct.pack(">HHI4s", 0x011A, 2, 4, b"abc\0")
    directory = struct.pack(">H", 2) + orientation + resolution + struct.pack(">I", 0)
    return saved(PHOTO, "JPEG", exif=b"Exif\0\0MM\0*" + struct.pack(">I", 8) + directory)


def mpo() -> bytes:
    """A camera's .jpg with a preview behind it."""
    return saved(PHOTO, "MPO", save_all=True, append_images=[PHOTO])


REFUSED: dict[str, tuple[Callable[[], bytes], int]] = {
    "zero bytes": (lambda: b"", 415),
    "text named .png": (lambda: b"I am a picture, honestly.\n" * 40, 415),
    "svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
    "pdf": (lambda: b"%PDF-1.7\n" + b"\0" * 100, 415),
    "tiff": (lambda: saved(PHOTO, "TIFF"), 415),
    "truncated png": (lambda: cut(saved(PHOTO, "PNG")), 422),
    "truncated jpeg": (lambda: cut(saved(PHOTO, "JPEG")), 422),
    "png cut in its header": (lambda: b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0", 422),
    "png signature alone": (lambda: b"\x89PNG\r\n\x1a\n", 422),
    "30,000 x 30,000 png": (giant_png, 422),
    "9,000 x 9,000 png": (lambda: giant_png(9_000, 9_000), 422),
    "animated gif": (animated_gif, 422),
    "gif with a cut end": (gif_with_a_cut_end, 422),
    "jpeg of many scans": (jpeg_of_many_scans, 422),
}

ACCEPTED: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: saved(PHOTO, "JPEG"),
    "webp": lambda: saved(PHOTO, "WEBP"),
    "bmp": lambda: saved(PHOTO, "BMP"),
    "still gif": lambda: saved(PHOTO, "GIF"),
    "cmyk jpeg": lambda: saved(PHOTO.convert("CMYK"), "JPEG"),
    "16-bit png": sixteen_bit_png,
    "palette png": lambda: saved(PHOTO.convert("P"), "PNG"),
    "palette png with transparency": lambda: saved(PHOTO.convert("P"), "PNG", transparency=3),
    "grey with alpha": lambda: saved(PHOTO.convert("LA"), "PNG"),
    "rgba": lambda: saved(PHOTO.convert("RGBA"), "PNG"),
    "bilevel": lambda: saved(PHOTO.convert("1"), "PNG"),
    "exif-rotated": rotated_jpeg,
    "broken exif around good pixels": jpeg_with_broken_exif,
    "mpo": mpo,
    "progressive jpeg": lambda: saved(PHOTO, "JPEG", progressive=True),
    "large rgba": lambda: saved(PHOTO.convert("RGBA").resize((900, 900)), "WEBP", lossless=True),
    "one pixel": lambda: saved(PHOTO.crop((0, 0, 1, 1)), "PNG"),
    "very wide": lambda: saved(PHOTO.resize((4000, 2)), "PNG"),
}
