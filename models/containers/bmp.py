"""BMP: a header, perhaps a palette, then rows; or commands of a run-length code."""

from __future__ import annotations

import struct

from PIL.BmpImagePlugin import BmpImageFile

from spikeserve.models.containers.container import Container
from spikeserve.models.errors import InvalidImage

OLD = struct.Struct("<HHHH")  # width, height, planes, bits
NEW = struct.Struct("<IiHHI")  # with compression
SECOND_HEADER = 14
RUN_LENGTHS, MASKS = (1, 2), 3
WITH_ALPHA, ALPHA = 56, slice(66, 70)  # from this length on, a header has a mask for it, here
# Pillow decodes run lengths in Python: so many nanoseconds for each pixel and byte of the file.
PIXEL_WORK, BYTE_WORK = 250, 300


class Bmp(Container):
    format, decoder = "BMP", BmpImageFile

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        (size,) = struct.unpack_from("<I", data, SECOND_HEADER)
        if size == 12:
            width, height, _, bits = OLD.unpack_from(data, SECOND_HEADER + 4)
            compression = 0
        else:
            width, height, _, bits, compression = NEW.unpack_from(data, SECOND_HEADER + 4)
        self.width, self.height = width, abs(height)  # below zero: from the top
        if not width or not height:
            raise InvalidImage(f"a BMP of {width} x {height} pixels")
        if bits == 16 and compression == MASKS and size >= WITH_ALPHA and any(data[ALPHA]):
            raise InvalidImage("a BMP of 16 bits with alpha is not decoded; save it with 32")
        self.pixel_bytes = 5 if bits <= 8 else 8 if compression == MASKS else 4  # with a copy
        if compression in RUN_LENGTHS:
            self.pixel_bytes = 8
            self.passes = PIXEL_WORK + BYTE_WORK * len(data) / self.pixels

    def essence(self) -> bytes:
        return self.data
