"""WebP: RIFF chunks; a picture alone, or an extended header with what belongs to it."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from PIL.WebPImagePlugin import WebPImageFile

from spikeserve.models.containers.container import MAX_METADATA, MAX_SEGMENTS, Container
from spikeserve.models.errors import InvalidImage

CHUNK = struct.Struct("<4sI")
FIRST_CHUNK = 12
LOSSY, LOSSLESS, EXTENDED = b"VP8 ", b"VP8L", b"VP8X"
METADATA = {b"EXIF": 0x08, b"XMP ": 0x04}
PICTURE = (LOSSY, LOSSLESS, b"ALPH", b"ANIM", b"ANMF")
PROFILE = 0x20


class WebP(Container):
    format, decoder = "WEBP", WebPImageFile
    # The decoder keeps two canvases, hands out a third, and Pillow copies it; as much as one more
    # while lossless pixels are decoded.
    pixel_bytes = 16.5

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.kind = kind = data[FIRST_CHUNK : FIRST_CHUNK + 4]
        start = FIRST_CHUNK + CHUNK.size
        head = data[start : start + 10]
        if len(head) < 10:
            raise InvalidImage("a WebP that ends within its header")
        if kind == LOSSY and head[3:6] == b"\x9d\x01\x2a":
            width, height = struct.unpack_from("<HH", head, 6)
            self.width, self.height = width & 0x3FFF, height & 0x3FFF
        elif kind == LOSSLESS and head[0] == 0x2F:
            size = int.from_bytes(head[1:5], "little")
            self.width, self.height = (size & 0x3FFF) + 1, (size >> 14 & 0x3FFF) + 1
        elif kind == EXTENDED:
            self.width = int.from_bytes(head[4:7], "little") + 1
            self.height = int.from_bytes(head[7:10], "little") + 1
        else:
            raise InvalidImage("a WebP that does not begin with a picture")
        if not self.width or not self.height:
            raise InvalidImage(f"a WebP of {self.width} x {self.height} pixels")

    def _chunks(self) -> Iterator[tuple[bytes, int, int]]:
        """Names of chunks, and where their contents begin and end; the last may be cut."""
        data, position = self.data, FIRST_CHUNK
        size = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
        while position + CHUNK.size <= size:
            kind, length = CHUNK.unpack_from(data, position)
            position += CHUNK.size
            yield kind, position, position + length
            position += length + length % 2

    def essence(self) -> bytes:
        kept: dict[bytes, memoryview] = {}
        for number, (kind, start, end) in enumerate(self._chunks()):
            if number == MAX_SEGMENTS:
                raise InvalidImage(f"a WebP of more than {MAX_SEGMENTS} chunks")
            if kind == b"ANMF" and kind in kept:
                raise InvalidImage("animated images have no single class; send one frame")
            small = kind in METADATA and end - start <= MAX_METADATA and end <= len(self.data)
            if small or kind in PICTURE or kind == EXTENDED:
                if end > len(self.data):
                    raise InvalidImage("a WebP that ends before its picture does")
                kept.setdefault(kind, memoryview(self.data)[start:end])
        if self.kind != EXTENDED:
            kept = {kind: content for kind, content in kept.items() if kind == self.kind}
        elif not kept.keys() & {LOSSY, LOSSLESS, b"ANMF"}:
            raise InvalidImage("a WebP that ends before its picture does")
        else:
            kept[EXTENDED] = memoryview(self._flagged(kept))
        self.has_metadata = bool(kept.keys() & METADATA.keys())
        parts: list[bytes | memoryview] = []
        for kind, content in kept.items():
            parts += [CHUNK.pack(kind, len(content)), content, b"\0" * (len(content) % 2)]
        length = 4 + sum(len(part) for part in parts)
        return b"".join((b"RIFF", length.to_bytes(4, "little"), b"WEBP", *parts))

    def _flagged(self, kept: dict[bytes, memoryview]) -> bytes:
        """The extended header, announcing no more metadata than is kept."""
        header = bytearray(kept[EXTENDED])
        header[0] &= ~PROFILE & 0xFF
        for kind, flag in METADATA.items():
            header[0] = header[0] | flag if kind in kept else header[0] & ~flag & 0xFF
        return bytes(header)
