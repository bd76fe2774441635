"""Image files written here byte by byte, so that their pixels are known without any decoder."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.integer]
"""``[H, W, C]``, as the file has them: levels, or indices of a palette."""
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
         (1, 0, 2, 1))  # fmt: skip


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png(
    samples: Samples,
    colour: int,
    depth: int = 8,
    *,
    palette: bytes = b"",
    transparency: bytes | None = None,
    laced: bool = False,
    more: bytes = b"",
) -> bytes:
    height, width, _ = samples.shape
    fields = samples[..., None] >> np.arange(depth)[::-1] & 1  # bits, the highest first
    passes = [fields]
    if laced:
        passes = [fields[row::down, column::right] for row, column, down, right in ADAM7]
    rows = b"".join(
        b"\0" + np.packbits(row.reshape(-1)).tobytes()
        for part in passes
        for row in part
        if row.size
    )
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, laced)
    return b"".join((
        b"\x89PNG\r\n\x1a\n",
        chunk(b"IHDR", header),
        more,
        chunk(b"PLTE", palette) if palette else b"",
        chunk(b"tRNS", transparency) if transparency is not None else b"",
        chunk(b"IDAT", zlib.compress(rows)),
        chunk(b"IEND"),
    ))  # fmt: skip


def gif(
    indices: Samples,
    palette: bytes,
    *,
    canvas: tuple[int, int] | None = None,
    corner: tuple[int, int] = (0, 0),
    transparent: int | None = None,
) -> bytes:
    """One frame of 256 colours at most, its top left corner at ``corner`` of the canvas."""
    height, width = indices.shape[:2]
    across, down = canvas or (width, height)
    control = b"" if transparent is None else bytes((0x21, 0xF9, 4, 1, 0, 0, transparent, 0))
    return b"".join((
        b"GIF89a",
        struct.pack("<HHBBB", across, down, 0xF7, 0, 0),
        palette.ljust(768, b"\0"),
        control,
        struct.pack("<BHHHHB", 0x2C, *corner, width, height, 0),
        b"\x08",
        *_blocks(_uncompressed_lzw(indices.reshape(-1).tolist())),
        b"\0;",
    ))  # fmt: skip


def _uncompressed_lzw(values: list[int]) -> bytes:
    """Nine bits a value: the code table is cleared before ten would be needed."""
    codes: list[int] = []
    for start in range(0, len(values), 200):
        codes += [256, *values[start : start + 200]]
    bits = np.array([*codes, 257])[:, None] >> np.arange(9) & 1
    return np.packbits(bits.reshape(-1), bitorder="little").tobytes()


def _blocks(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), 255):
        piece = data[start : start + 255]
        yield bytes((len(piece),)) + piece


def bmp(
    rows: list[bytes],
    width: int,
    bits: int,
    *,
    palette: bytes = b"",
    masks: tuple[int, ...] = (),
    compression: int = 0,
    downwards: bool = False,
) -> bytes:
    """Rows from the top, without padding; with four masks the header is of version 4."""
    size = 108 if len(masks) == 4 else 40
    body = b"".join(row + bytes(-len(row) % 4) for row in (rows if downwards else rows[::-1]))
    if compression in (1, 2):
        body = b"".join(rows)
    height = -len(rows) if downwards else len(rows)
    head = struct.pack("<IiiHHIIiiII", size, width, height, 1, bits, 3 if masks else compression,
                       len(body), 0, 0, len(palette) // 4, 0)  # fmt: skip
    masked = b"".join(struct.pack("<I", mask) for mask in masks)
    head += masked.ljust(size - 40, b"\0") if size > 40 else masked
    offset = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(body), 0, 0, offset) + head + palette + body
