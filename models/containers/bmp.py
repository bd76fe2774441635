"""BMP: a header, perhaps a palette, then rows; or commands of a run-length code."""

from __future__ import annotations

import struct

from spikeserve.models.containers.container import Container
from spikeserve.models.errors import InvalidImage

OLD = struct.Struct("<HHHH")  # width, height, planes, bits
NEW = struct.Struct("<IiHHI")  # with compression
SECOND_HEADER = 14
RUN_LENGTHS = (1, 2)
# Pillow decodes run lengths in Python: so many nanoseconds for each pixel and byte of the file.
PIXEL_WORK, BYTE_WORK = 80, 300


class Bmp(Container):
    format = "BMP"

    def __init__(self, data: bytes) -> None:
        self.data = data
        try:
            (size,) = struct.unpack_from("<I", data, SECOND_HEADER)
            if size == 12:
                width, height, _, bits = OLD.unpack_from(data, SECOND_HEADER + 4)
                compression = 0
            else:
                width, height, _, bits, compression = NEW.unpack_from(data, SECOND_HEADER + 4)
        except struct.error as error:
            raise InvalidImage("a BMP that ends within its header") from error
        self.width, self.height = width, abs(height)  # below zero: from the top
        if not width or not height:
            raise InvalidImage(f"a BMP of {width} x {height} pixels")
        self.pixel_bytes = 1 if bits <= 8 else 4
        if compression in RUN_LENGTHS:
            self.pixel_bytes = 4
            self.passes = PIXEL_WORK + BYTE_WORK * len(data) / self.pixels

    def essence(self) -> bytes:
        return self.data
