"""The files and bodies the service defends against, made here so that the repository holds none."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.pictures import bmp, chunk

START_OF_SCAN = b"\xff\xda"
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
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND")


def png_with(*chunks: bytes, behind: bool = False) -> bytes:
    """A good PNG with more chunks, before its pixels or behind them."""
    png = saved(PHOTO, "PNG")
    place = len(png) - 12 if behind else 33
    return png[:place] + b"".join(chunks) + png[place:]


def text(kind: bytes = b"zTXt", length: int = 2_000_000) -> bytes:
    """A chunk of two kilobytes with a thousand times as much in it."""
    keyword = {b"zTXt": b"k\0\0", b"iTXt": b"k\0\1\0\0\0", b"iCCP": b"k\0\0"}[kind]
    return chunk(kind, keyword + zlib.compress(b"x" * length))


def apng(frames: int) -> bytes:
    pictures = [Image.new("RGB", (20, 20), (shade, 0, 0)) for shade in range(frames)]
    if frames > 1:
        return saved(pictures[0], "PNG", save_all=True, append_images=pictures[1:])
    return png_with(chunk(b"acTL", struct.pack(">II", 1, 0)))


def animated_webp() -> bytes:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "green", "blue")]
    return saved(frames[0], "WEBP", save_all=True, append_images=frames[1:])


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


def jpeg_of_many_scans(scans: int = 200, size: tuple[int, int] = (60, 40)) -> bytes:
    """Each further scan costs the decoder a pass over the picture."""
    jpeg = saved(PHOTO, "JPEG", progressive=True)
    frame = jpeg.index(b"\xff\xc2")
    sized = jpeg[: frame + 5] + struct.pack(">HH", *size[::-1]) + jpeg[frame + 9 :]
    last = sized[sized.rindex(START_OF_SCAN) : -2]
    return sized[:-2] + last * (scans - 10) + sized[-2:]


def jpeg_with(segments: bytes) -> bytes:
    jpeg = saved(PHOTO, "JPEG")
    return jpeg[:2] + segments + jpeg[2:]


def jpeg_changed(offset: int, value: bytes) -> bytes:
    """With other bytes in its frame header, counted from the marker."""
    jpeg = saved(PHOTO, "JPEG")
    place = jpeg.index(b"\xff\xc0") + offset
    return jpeg[:place] + value + jpeg[place + len(value) :]


def motion_photo() -> bytes:
    """A camera's JPEG with a video behind it, in which anything may look like a marker."""
    return saved(PHOTO, "JPEG") + b"\0\0\0\x18ftypmp42" + b"\xff\xda\0\x08\xff\xd9" * 50_000


def run_length_bmp() -> bytes:
    """33 kB that keep a decoder in Python for ten seconds: it fills each line pixel by pixel."""
    header = struct.pack("<IiiHHIIiiII", 40, 8000, 8000, 1, 8, 1, 0, 0, 0, 256, 0)
    start = b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + 1024)
    return start + header + bytes(range(256)) * 4 + b"\1\5\0\0" * 8000


def half_a_png() -> bytes:
    """Its pixels end half-way, in good order."""
    png = saved(PHOTO.crop((0, 0, 60, 20)), "PNG")
    header = struct.pack(">IIBBBBB", 60, 40, 8, 2, 0, 0, 0)
    return png[:8] + chunk(b"IHDR", header) + png[33:]


def webp_broken_within() -> bytes:
    webp = saved(PHOTO, "WEBP")
    return webp[:20] + bytes(40) + webp[60:]


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
    "png half of whose rows are there": (half_a_png, 422),
    "png sent as text": (lambda: saved(PHOTO, "PNG").replace(b"\r\n", b"\n"), 422),
    "png read as text": (lambda: saved(PHOTO, "PNG").decode(errors="replace").encode(), 422),
    "png behind a byte order mark": (lambda: b"\xef\xbb\xbf" + saved(PHOTO, "PNG"), 422),
    "png with another header than its checksum's": (
        lambda: saved(PHOTO, "PNG").replace(struct.pack(">I", 60), struct.pack(">I", 61), 1),
        422,
    ),
    "png of 80,000 chunks": (lambda: png_with(chunk(b"teXt") * 80_000), 422),
    "png whose pixels are in 80,000 pieces": (lambda: png_with(chunk(b"IDAT") * 80_000), 422),
    "png of one column": (lambda: giant_png(1, 60_000_000), 422),
    "animated png": (lambda: apng(3), 422),
    "animated webp": (animated_webp, 422),
    "webp broken within": (webp_broken_within, 422),
    "webp cut in its header": (lambda: saved(PHOTO, "WEBP")[:24], 422),
    "jpeg cut in two bytes": (lambda: b"\xff\xd8", 422),
    "jpeg cut and closed": (lambda: cut(saved(PHOTO, "JPEG")) + b"\xff\xd9", 422),
    "progressive jpeg cut between scans": (
        lambda: (jpeg := saved(PHOTO, "JPEG", progressive=True))[: jpeg.rindex(START_OF_SCAN)],
        422,
    ),
    "jpeg with a height of nothing": (lambda: jpeg_changed(5, b"\0\0"), 422),
    "jpeg of twelve bits": (lambda: jpeg_changed(4, b"\x0c"), 422),
    "jpeg of another kind": (lambda: jpeg_changed(1, b"\xcf"), 422),
    "jpeg of padding": (lambda: jpeg_with(b"\xff" * 900_000), 422),
    "jpeg of comments": (lambda: jpeg_with(b"\xff\xfe\0\2" * 200_000), 422),
    "jpeg of tables": (lambda: jpeg_with((b"\xff\xdb\0\x43\0" + b"\1" * 64) * 200), 422),
    "64 megapixels in 99 scans": (lambda: jpeg_of_many_scans(99, (8000, 8000)), 422),
    "gif of comments": (lambda: b"GIF89a" + bytes(7) + b"!\xfe" + b"\1a" * 400_000, 422),
    "run-length bmp of 64 megapixels": (run_length_bmp, 422),
    "bmp with a header of a gigabyte": (lambda: b"BM" + bytes(12) + b"\0\0\0\x40" * 20, 422),
    "bmp of 16 bits with alpha": (
        lambda: bmp([bytes(8)] * 4, 4, 16, masks=(0x7C00, 0x3E0, 0x1F, 0x8000)),
        422,
    ),
    "avif": (lambda: b"\0\0\0\x20ftypavif" + bytes(100), 415),
    "base64": (lambda: b"iVBORw0KGgoAAAANSUhEUgAAADwAAAAo", 415),
    "text that begins like a bmp": (lambda: b"BMW builds cars and motorcycles.", 415),
    "wave": (lambda: b"RIFF\x24\0\0\0WAVEfmt " + bytes(20), 415),
    "png cut in its header": (lambda: b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0", 422),
    "png signature alone": (lambda: b"\x89PNG\r\n\x1a\n", 415),
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
    "png with 2 MB of text": lambda: png_with(text()),
    "png with 2 MB of international text behind": lambda: png_with(text(b"iTXt"), behind=True),
    "png with a profile of 50 MB": lambda: png_with(text(b"iCCP", 50_000_000)),
    "png with texts of 7 MB": lambda: png_with(text(length=1_000_000) * 7),
    "png with 1 MB of EXIF": lambda: png_with(chunk(b"eXIf", bytes(900_000))),
    "png with a broken text": lambda: png_with(text()[:-4] + b"\0\0\0\0"),
    "png without its end": lambda: saved(PHOTO, "PNG")[:-12],
    "png of one frame": lambda: apng(1),
    "motion photo": motion_photo,
    "jpeg with scans in a comment": lambda: jpeg_with(b"\xff\xfe\x04\2" + START_OF_SCAN * 512),
    "jpeg with 99 scans": lambda: jpeg_of_many_scans(99),
    "jpeg with a half of its end": lambda: saved(PHOTO, "JPEG")[:-1],
    "jpeg without its end": lambda: saved(PHOTO, "JPEG")[:-2],
    "progressive jpeg without its end": lambda: saved(PHOTO, "JPEG", progressive=True)[:-2],
    "gif without its end": lambda: saved(PHOTO, "GIF")[:-1],
    "webp with something behind": lambda: saved(PHOTO, "WEBP") + b"something",
    "progressive jpeg": lambda: saved(PHOTO, "JPEG", progressive=True),
    "large rgba": lambda: saved(PHOTO.convert("RGBA").resize((900, 900)), "WEBP", lossless=True),
    "one pixel": lambda: saved(PHOTO.crop((0, 0, 1, 1)), "PNG"),
    "very wide": lambda: saved(PHOTO.resize((4000, 2)), "PNG"),
}
