"""PNG: chunks with a length, a name and a checksum."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

from PIL import Image, ImageChops
from PIL.PngImagePlugin import PngImageFile

from spikeserve.models.containers.container import (
    MAX_METADATA,
    MAX_SEGMENTS,
    Container,
    Opened,
)
from spikeserve.models.errors import InvalidImage
from spikeserve.models.layers import Shape

SIGNATURE = b"\x89PNG\r\n\x1a\n"
START = SIGNATURE + b"\0\0\0\rIHDR"
HEADER = struct.Struct(">IIBBBBB")  # width, height, depth, colour type, compression, filter, lace
CHUNK = struct.Struct(">I4s")
END = b"\0\0\0\0IEND\xaeB`\x82"
FIRST_CHUNK = len(SIGNATURE) + 12 + HEADER.size
FRAME = 12  # bytes of a chunk beside its content: length, name, checksum
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
SAMPLES = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
DEPTHS = {
    GREY: (1, 2, 4, 8, 16),
    RGB: (8, 16),
    PALETTE: (1, 2, 4, 8),
    GREY_ALPHA: (8, 16),
    RGBA: (8, 16),
}
XMP = b"XML:com.adobe.xmp\0\0"  # and not compressed
# Interlaced rows come in seven passes: first column and row, steps between them.
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
          (0, 1, 1, 2))  # fmt: skip
PIECE_BYTES, INFLATED_BYTES = 1 << 16, 1 << 20
SHORT = 16  # chunks


class Png(Container):
    format, decoder = "PNG", PngImageFile

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        if not data.startswith(START):
            if not START.startswith(data[: len(START)]) and not data.startswith(SIGNATURE):
                raise InvalidImage("a PNG whose line ends were translated, as if it were text")
            raise InvalidImage("a PNG that does not begin with its header")
        if len(data) < FIRST_CHUNK:
            raise InvalidImage("a PNG that ends within its header")
        header = HEADER.unpack_from(data, len(START))
        self.width, self.height, self.depth, self.colour, _, _, self.laced = header
        if not self.width or not self.height:
            raise InvalidImage(f"a PNG of {self.width} x {self.height} pixels")
        if self.depth not in DEPTHS.get(self.colour, ()):
            raise InvalidImage(f"a PNG of colour type {self.colour} with {self.depth} bits")
        self.kept: dict[bytes, bytes] = {}
        self.animated = False
        self.pixels_at, self.before = FIRST_CHUNK, 0
        if data[FIRST_CHUNK + 4 : FIRST_CHUNK + 8] != b"IDAT":
            self._read_head()

    @property
    def pixel_bytes(self) -> int:  # type: ignore[override]
        """Of the decoded image and its copy: Pillow premultiplies alpha, and averages floats."""
        if self.colour == GREY and self.depth == 16:
            return 6 if b"tRNS" not in self.kept else 13
        if self.colour in (GREY_ALPHA, RGBA) or b"tRNS" in self.kept:
            return 18 if self._is_wide_rgb() else 8
        if self.colour == GREY and self.depth > 1:
            return 1
        return 4 if self.colour == RGB else 5

    def memory_bytes(self, shape: Shape) -> int:
        rows: int = 2 * self.width * SAMPLES[self.colour] * max(1, self.depth // 8)
        return super().memory_bytes(shape) + rows  # one, and the one above it

    def is_short(self) -> bool:
        """Whether stepping through its chunks takes no time worth mentioning."""
        metadata = self.has_metadata or self.before > SHORT
        return not metadata and (self._is_bare() or self.data.count(b"IDAT") <= SHORT)

    def _is_bare(self) -> bool:
        """Whether there is nothing in it that could be left out."""
        length, _ = CHUNK.unpack_from(self.data, FIRST_CHUNK)
        size = FIRST_CHUNK + length + FRAME + len(END)
        return self.pixels_at == FIRST_CHUNK and len(self.data) == size and self.data.endswith(END)

    def _read_head(self) -> None:
        for number, (kind, start, end) in enumerate(self._chunks(FIRST_CHUNK)):
            if kind == b"IDAT":
                self.pixels_at, self.before = start - 8, number
                return
            if number == MAX_SEGMENTS:
                raise InvalidImage(f"a PNG with more than {MAX_SEGMENTS} chunks before its pixels")
            if kind == b"acTL":
                self.animated = True
            elif kind == b"PLTE" and self.colour == PALETTE:
                self.kept[kind] = self.data[start - 8 : end + 4]
            elif kind == b"tRNS" and self.colour in (GREY, RGB, PALETTE):
                self.kept[kind] = self._transparency(start, end)
            else:
                self._keep_metadata(kind, start, end)
        raise InvalidImage("a PNG that ends before its pixels")

    def _chunks(self, position: int) -> Iterator[tuple[bytes, int, int]]:
        """Names of chunks, and where their contents begin and end; the last may be cut."""
        data, size = self.data, len(self.data)
        while position + 8 <= size:
            length, kind = CHUNK.unpack_from(data, position)
            yield kind, position + 8, position + 8 + length
            position += length + FRAME

    def _keep_metadata(self, kind: bytes, start: int, end: int) -> None:
        """Orientation may be in either; what is compressed stays so."""
        small = end - start <= MAX_METADATA and end <= len(self.data)
        if small and (kind == b"eXIf" or (kind == b"iTXt" and self.data.startswith(XMP, start))):
            self.kept[kind] = _chunk(kind, self.data[start:end])
            self.has_metadata = True

    def _transparency(self, start: int, end: int) -> bytes:
        """The transparent colour as Pillow compares it: with pixels that it brought to 8 bits."""
        content = self.data[start:end]
        if self.data[end : end + 4] != zlib.crc32(b"tRNS" + content).to_bytes(4, "big"):
            raise InvalidImage("a PNG with a wrong checksum of its transparency")
        if self.colour == PALETTE:
            return _chunk(b"tRNS", content[:256])
        count = SAMPLES[self.colour]
        if len(content) < 2 * count:
            raise InvalidImage("a PNG whose transparent colour is cut")
        values = struct.unpack_from(f">{count}H", content)
        largest = (1 << self.depth) - 1
        values = tuple(value & largest for value in values)  # other bits have no meaning
        if self.depth in (2, 4):
            values = tuple(value * 255 // largest for value in values)
        elif self._is_wide_rgb():
            self.low_bytes = tuple(value & 255 for value in values)
            values = tuple(value >> 8 for value in values)
        return _chunk(b"tRNS", struct.pack(f">{count}H", *values))

    def _is_wide_rgb(self) -> bool:
        return bool(self.colour == RGB and self.depth == 16)

    def essence(self) -> bytes:
        if self._is_bare():
            return self.data
        first = last = self.pixels_at
        allowed = MAX_SEGMENTS + len(self.data) // 1024  # encoders flush every 4 KiB or more
        running, cut = True, b""
        for number, (kind, start, end) in enumerate(self._chunks(first)):
            if kind == b"IEND":
                break
            if number == allowed:
                raise InvalidImage(f"a PNG of more than {allowed} chunks")
            if kind == b"fdAT" and self.animated:
                raise InvalidImage("animated images have no single class; send one frame")
            running = running and kind == b"IDAT"
            if running and end + 4 <= len(self.data):
                last = end + 4
            elif running:
                cut = _chunk(kind, self.data[start:end])
                last = start - 8
            else:
                self._keep_metadata(kind, start, end)
        pixels = memoryview(self.data)[first:last]
        return b"".join((self.data[:FIRST_CHUNK], *self.kept.values(), pixels, cut, END))

    def is_whole(self, image: Image.Image, opened: Opened) -> bool:  # noqa: ARG002
        # Rows that the file lacks stay zero, and Pillow does not mind where the stream ends.
        corner = image.getpixel((self.width - 1, self.height - 1))
        black = not any(corner) if isinstance(corner, tuple) else not corner
        if not (black or self.laced):
            return True
        row = image.crop((0, self.height - 1, *image.size))
        if not self.laced and row.getbbox(alpha_only=False):
            return True
        return self._inflates_to(self._raw_bytes())

    def finished(self, image: Image.Image) -> Image.Image:
        """Pillow keeps the high bytes of 16-bit colours; one is transparent if all bits agree."""
        if b"tRNS" not in self.kept or not self._is_wide_rgb():
            return image
        low = PngImageFile(io.BytesIO(self.essence()))
        low.tile = [low.tile[0]._replace(args="RGB;16L")]
        low.info["transparency"] = self.low_bytes
        alphas = [part.convert("RGBA").getchannel("A") for part in (image, low)]
        image.info.pop("transparency")
        image.putalpha(ImageChops.lighter(*alphas))
        return image

    def _raw_bytes(self) -> int:
        """Of all rows, each behind the byte that names its filter."""
        bits = self.depth * SAMPLES[self.colour]
        total = 0
        for x, y, right, down in PASSES if self.laced else ((0, 0, 1, 1),):
            columns = -((x - self.width) // right)
            rows = -((y - self.height) // down)
            total += rows * ((columns * bits + 7) // 8 + 1) if columns > 0 and rows > 0 else 0
        return total

    def _inflates_to(self, wanted: int) -> bool:
        stream = zlib.decompressobj()
        try:
            for kind, start, end in self._chunks(self.pixels_at):
                if kind != b"IDAT" or wanted <= 0:
                    break
                for position in range(start, min(end, len(self.data)), PIECE_BYTES):
                    rest = self.data[position : min(position + PIECE_BYTES, end)]
                    while rest and wanted > 0 and not stream.eof:
                        wanted -= len(stream.decompress(rest, INFLATED_BYTES))
                        rest = stream.unconsumed_tail
        except zlib.error:
            return False
        return wanted <= 0


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return CHUNK.pack(len(content), kind) + content + checksum.to_bytes(4, "big")
