"""GIF: a canvas, then blocks; contents come in sub-blocks of at most 255 bytes."""

from __future__ import annotations

import re
import struct

from PIL import Image
from PIL.GifImagePlugin import GifImageFile

from spikeserve.models.containers.container import MAX_SEGMENTS, Container
from spikeserve.models.errors import InvalidImage

CANVAS = struct.Struct("<6sHHBBB")  # signature, width, height, flags, background, aspect
FRAME = struct.Struct("<HHHHB")  # left, top, width, height, flags
EXTENSION, PICTURE, TRAILER, CONTROL = 0x21, 0x2C, 0x3B, 0xF9
HAS_PALETTE, PALETTE_BITS = 0x80, 7
FULL_BLOCKS = re.compile(rb"(?s:\xff.{255})*+")
PADDING = re.compile(rb"\0*+")
# Shorter than 255 bytes, before the picture and in all; full ones are stepped over by the hundred.
MAX_HEAD_BLOCKS, MAX_BLOCKS = 1 << 12, 1 << 16


class Gif(Container):
    format, decoder = "GIF", GifImageFile

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.blocks = MAX_HEAD_BLOCKS
        _, width, height, flags, _, _ = CANVAS.unpack_from(data)
        self.head, self.control = CANVAS.size + _palette_bytes(flags), b""
        self.pixels_at = self._picture(self.head)
        left, top, across, down, _ = FRAME.unpack_from(data, self.pixels_at + 1)
        if not across or not down:
            raise InvalidImage(f"a GIF of {across} x {down} pixels")
        self.frame = (left, top, left + across, top + down)
        self.width, self.height = max(width, self.frame[2]), max(height, self.frame[3])
        # A palette's colours are averaged in RGB, those with transparency premultiplied; what the
        # frame leaves out is transparent, too.
        self.pixel_bytes = 10 if not self._covered() else 8 if self.control else 5

    def _covered(self) -> bool:
        return self.frame == (0, 0, self.width, self.height)

    def _picture(self, position: int) -> int:
        """Where the next picture begins; steps over extensions."""
        for _ in range(MAX_SEGMENTS):
            kind = self.data[position]
            if kind == PICTURE:
                return position
            if kind != EXTENSION:
                raise InvalidImage("a GIF without a picture")
            end = self._blocks_end(position + 2)
            if self.data[position + 1] == CONTROL:
                self.control = self.data[position:end]
            position = end
        raise InvalidImage(f"a GIF with more than {MAX_SEGMENTS} blocks before its picture")

    def _blocks_end(self, position: int) -> int:
        """Behind the empty block that ends a run of sub-blocks.

        Raises:
            IndexError: the file ends before.
        """
        data = self.data
        while True:
            if data[position] == 255:
                full = FULL_BLOCKS.match(data, position)
                assert full
                if full.end() == position:
                    raise IndexError
                position = full.end()
            length = data[position]
            position += length + 1
            if not length:
                return position
            self.blocks -= 1
            if self.blocks < 0:
                raise InvalidImage("a GIF of too many short blocks")

    def essence(self) -> bytes:
        data, start = self.data, self.pixels_at
        self.blocks = MAX_BLOCKS
        pixels = start + 1 + FRAME.size + _palette_bytes(data[start + FRAME.size]) + 1
        try:
            end = self._blocks_end(pixels)
        except IndexError:  # Pillow tells whether pixels are missing
            return b"".join((data[: self.head], self.control, data[start:]))
        self._refuse_more(end)
        return b"".join((data[: self.head], self.control, data[start:end], bytes([TRAILER])))

    def _refuse_more(self, position: int) -> None:
        try:
            padding = PADDING.match(self.data, position)
            assert padding
            self._picture(padding.end())
        except (IndexError, InvalidImage):  # no picture that anybody would show
            return
        raise InvalidImage("animated images have no single class; send one frame")

    def finished(self, image: Image.Image) -> Image.Image:
        if self._covered():
            return image
        canvas = Image.new("RGBA", image.size, (255, 255, 255, 0))
        canvas.paste(image.crop(self.frame).convert("RGBA"), self.frame)
        return canvas


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & PALETTE_BITS) + 1 if flags & HAS_PALETTE else 0
