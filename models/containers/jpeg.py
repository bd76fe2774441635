"""JPEG: segments behind markers, and scans of entropy-coded data that end at the next marker."""

from __future__ import annotations

import re
import struct
from math import ceil

from PIL import Image, ImageChops
from PIL.JpegImagePlugin import JpegImageFile

from spikeserve.models.containers.container import (
    MAX_SEGMENTS,
    Container,
    Opened,
)
from spikeserve.models.errors import InvalidImage
from spikeserve.models.layers import Shape

SOI, EOI, SOS, DQT, DRI, DNL = 0xD8, 0xD9, 0xDA, 0xDB, 0xDD, 0xDC
TABLES = (0xC4, 0xCC, DQT, DRI)  # Huffman, arithmetic, quantisation, restart interval
FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
DECODED = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)  # sequential or progressive, Huffman or arithmetic
PROGRESSIVE = (0xC2, 0xCA)
ALONE = (0, 1, *range(0xD0, 0xD8))  # stuffed or without a segment
APP0, APP1, APP14 = 0xE0, 0xE1, 0xEE
EXIF, XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
MAX_SCANS = 100
DECODES = 3  # of a file that ends without saying so
TYPICAL_SCANS = 10  # what encoders of progressive files write for colour
MAX_TABLE_BYTES = 1 << 13  # four quantisation tables of 129 bytes are all that a frame can use
END = b"\xff\xd9"
MAX_FILL = 256  # bytes before a marker
NOT_FILL = re.compile(rb"[^\xff]")
MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # neither stuffed, restart nor fill
STRIDE = 1 << 18  # bytes searched before another thread may run
# What may stand behind the last data without a change, if nothing is missing: other bits, more than
# the blocks of a place can take, behind whichever restart marker comes next.
OTHER_BITS = bytes(0xAA ^ n * 167 % 255 for n in range(255)).replace(b"\xff", b"\xfe") * 16
OTHER_DATA = b"".join(OTHER_BITS + bytes((0xFF, 0xD0 + n)) for n in range(8))
GREY = range(126, 130)  # what a decoder paints where data is missing


class Jpeg(Container):
    format, decoder = "JPEG", JpegImageFile

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.width = self.height = 0
        self.progressive = False
        self.sampling: dict[int, tuple[int, int]] = {}
        self.kept = [data[:2]]
        self.ended = True
        tables = 0
        position = 2
        for _ in range(MAX_SEGMENTS):
            marker, start, end = self._segment(position)
            if marker == SOS:
                break
            if marker in FRAMES:
                self._read_frame(marker, start, end)
            tables += (end - start) if marker == DQT else 0
            if tables > MAX_TABLE_BYTES:
                raise InvalidImage("a JPEG with more quantisation tables than a picture can use")
            if self._matters(marker, start):
                self.kept.append(b"\xff" + data[start - 1 : end])
            position = end
        else:
            raise InvalidImage(f"a JPEG with more than {MAX_SEGMENTS} segments before its pixels")
        if not self.width:
            raise InvalidImage("a JPEG whose pixels come before its size")
        self.pixels_at = position
        self.several = self.progressive or data[start + 2] < len(self.sampling)
        self.passes = TYPICAL_SCANS if self.several else 1
        self._set_memory()

    def _segment(self, position: int) -> tuple[int, int, int]:
        """The next marker, and where what is behind it begins and ends."""
        data = self.data
        position = data.find(b"\xff", position)
        filled = NOT_FILL.search(data, position, position + MAX_FILL) if position >= 0 else None
        if filled is None:
            raise InvalidImage("a JPEG that ends, or is padded, where a marker should be")
        marker, position = data[filled.start()], filled.end()
        if marker in ALONE or marker == EOI:
            return marker, position, position
        if marker < 0xC0 or marker == SOI:
            raise InvalidImage(f"a JPEG with a marker ff{marker:02x} where none may be")
        length = int.from_bytes(data[position : position + 2], "big")
        if position + max(length, 2) > len(data):
            raise InvalidImage("a JPEG that ends before its picture does")
        if length < 2:
            raise InvalidImage("a JPEG with a segment of impossible length")
        return marker, position, position + length

    def _read_frame(self, marker: int, start: int, end: int) -> None:
        if marker not in DECODED:
            raise InvalidImage(f"a JPEG of a kind that is not decoded (SOF{marker & 15})")
        if self.width:
            raise InvalidImage("a JPEG with two frame headers")
        if end - start < 8:
            raise InvalidImage("a JPEG whose frame header is cut")
        bits, height, width, count = struct.unpack_from(">BHHB", self.data, start + 2)
        components = self.data[start + 8 : end]
        if bits != 8:
            raise InvalidImage(f"a JPEG of {bits} bits; 8 are decoded")
        if not height and width:
            raise InvalidImage("a JPEG that tells its height behind its pixels")
        if not width:
            raise InvalidImage(f"a JPEG of {width} x {height} pixels")
        if count not in (1, 3, 4) or len(components) < 3 * count:
            raise InvalidImage(f"a JPEG of {count} components; 1, 3 or 4 are decoded")
        self.width, self.height, self.progressive = width, height, marker in PROGRESSIVE
        self.sampling = {components[3 * i]: divmod(components[3 * i + 1], 16) for i in range(count)}
        if len(self.sampling) < count or any(
            not 1 <= f <= 4 for p in self.sampling.values() for f in p
        ):
            raise InvalidImage("a JPEG with impossible components")

    def _matters(self, marker: int, start: int) -> bool:
        if marker in TABLES or marker in FRAMES or marker in (APP0, APP14):
            return True
        content = self.data[start + 2 : start + 2 + len(XMP)]
        first = not any(part[4:].startswith(content[: len(EXIF)]) for part in self.kept)
        metadata = marker == APP1 and content.startswith((EXIF, XMP)) and first
        self.has_metadata = self.has_metadata or metadata
        return metadata

    def _set_memory(self) -> None:
        across = max(h for h, _ in self.sampling.values())
        down = max(v for _, v in self.sampling.values())
        shares = sum(h * v for h, v in self.sampling.values()) / (across * down)
        # All coefficients, of 16 bits, are kept where several scans make a picture.
        self.kept_bytes = 2 * shares if self.several else 0.0
        self.pixel_bytes = 1 if len(self.sampling) == 1 else 4

    def memory_bytes(self, shape: Shape) -> int:
        # Two images, and their difference, where the end is in doubt; the first has no more
        # coefficients beside it by then.
        doubtful = self.several and not self.data.endswith(END)
        width, height = (
            (self.width, self.height) if doubtful else reduced(self.width, self.height, shape)
        )
        rows = 16 * self.width * len(self.sampling)  # some of every component
        coefficients = (self.width + 32) * (self.height + 32) * self.kept_bytes
        return round(
            coefficients
            + 3 * self.pixel_bytes * width * height
            + rows
            + self._fitting_bytes(shape)
            + 2 * len(self.data)
        )

    def essence(self) -> bytes:
        data, position, scans = self.data, self.pixels_at, 0
        coded: dict[int, set[int]] = {}
        self.ended = False
        for _ in range(MAX_SEGMENTS):
            try:
                marker, start, end = self._segment(position)
            except InvalidImage:  # cut between scans
                position = len(data)
                break
            if marker in ALONE:
                position = end
                continue
            if marker == EOI or (scans and not self.several):
                self.ended = True
                break
            if marker == SOS:
                scans += 1
                if scans > MAX_SCANS:
                    raise InvalidImage(f"more than {MAX_SCANS} JPEG scans")
                self._note(coded, start, end)
                end = self._entropy_end(end)
            position = end
        else:
            raise InvalidImage(f"a JPEG with more than {MAX_SEGMENTS} segments among its scans")
        self.scans = memoryview(data)[self.pixels_at : position]
        self.passes = scans
        if not self.ended:
            if data.endswith(END) or not self._coded_fully(coded):
                raise InvalidImage("a JPEG that ends before its last scan")
            self.passes *= DECODES
            if self.scans[-1] == 0xFF:
                self.scans = self.scans[:-1]  # of the marker that is cut
        return self._with_end(END)

    def _entropy_end(self, position: int) -> int:
        """Where the next marker is, or the end of the file."""
        size = len(self.data)
        while position < size:
            found = MARKER.search(self.data, position, min(position + STRIDE + 1, size))
            if found:
                return found.start()
            position += STRIDE
        return size

    def _note(self, coded: dict[int, set[int]], start: int, end: int) -> None:
        """Which coefficients a scan brings to their last bit, by component."""
        count = self.data[start + 2]
        if end - start != 6 + 2 * count:
            raise InvalidImage("a JPEG with a damaged scan header")
        first, last, bits = self.data[end - 3 : end]
        if not self.progressive:
            first, last, bits = 0, 63, 0
        if bits & 15 == 0:
            for number in range(count):
                component = self.data[start + 3 + 2 * number]
                coded.setdefault(component, set()).update(range(first, min(last, 63) + 1))

    def _coded_fully(self, coded: dict[int, set[int]]) -> bool:
        return all(len(coded.get(component, ())) == 64 for component in self.sampling)

    def is_whole(self, image: Image.Image, opened: Opened) -> bool:
        if self.ended:
            corner = image.getpixel((image.width - 1, image.height - 1))
            values = corner if isinstance(corner, tuple) else (corner,)
            if self.several or not all(value in GREY for value in values):
                return True
        # At a fraction of the size what the last scans add is hardly seen.
        reduce = not self.several
        image = image if reduce else opened(self._with_end(END), False)
        other = opened(self._with_end(OTHER_DATA + END), reduce)
        return ImageChops.difference(image, other).getbbox() is None

    def _with_end(self, end: bytes) -> bytes:
        return b"".join((*self.kept, self.scans, end))


def reduced(width: int, height: int, shape: Shape) -> tuple[int, int]:
    """The size at which Pillow decodes for a network of ``shape``, as ``draft`` chooses it."""
    scale = min(width // (4 * shape[1]), height // (4 * shape[0]))
    step = next((step for step in (8, 4, 2) if scale >= step), 1)
    return ceil(width / step), ceil(height / step)
