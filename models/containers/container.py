"""What every container says of its file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from PIL import Image, ImageFile

from spikeserve.models.layers import Shape

MAX_SEGMENTS = 500
"""Pieces before the picture that are stepped over; cameras and editors write some dozens."""
MAX_METADATA = 1 << 16
"""Bytes of EXIF or XMP that are looked at for the orientation: as much as a JPEG can hold."""
POINTER_BYTES = 8  # Pillow keeps one a row
ROW_WORK = 64  # what a row costs a decoder beside its pixels, in pixels
WORKSPACE_BYTES = 6 << 20  # strips while an image is fitted, buffers of decoders

Opened = Callable[[bytes, bool], Image.Image]
"""Decodes a file of the same container, at the fraction that a network needs or as it is."""


class Container(ABC):
    """An image file whose head was read; decodes nothing.

    Subclasses read the head when they are built, in bounded time, and set what is below.
    """

    format: ClassVar[str]
    decoder: ClassVar[type[ImageFile.ImageFile]]
    data: bytes
    width: int
    height: int
    pixel_bytes: float
    """That decoding takes for each pixel at once, the decoded image included."""
    passes: float = 1
    """Of the decoder over the picture, as far as known; ``essence`` makes it exact."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    has_metadata = False
    """Whether its essence has EXIF or XMP, which may name an orientation."""

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def work(self) -> int:
        """Pixels to decode, as often as the decoder passes over them; about a nanosecond each."""
        return round(self.pixels * self.passes) + ROW_WORK * self.height

    def memory_bytes(self, shape: Shape) -> int:
        """The most that decoding and fitting to ``shape`` take at once, beside the file."""
        return round(
            self.pixels * self.pixel_bytes
            + self.height * POINTER_BYTES
            + self._fitting_bytes(shape)
            + 2 * len(self.data)  # the essence, and what some decoders copy of it
        )

    def _fitting_bytes(self, shape: Shape) -> int:
        """Of the image that is resampled in one direction, and of a few rows before that."""
        longest, shortest = max(shape[:2]), min(shape[:2])
        rows = min(self.height, self.width * longest // shortest + 64)
        return 4 * rows * longest + WORKSPACE_BYTES

    @abstractmethod
    def essence(self) -> bytes:
        """The file without what no decoder has to see; reads all of it.

        Raises:
            InvalidImage: animated, or ends before its picture does.
        """

    def is_whole(self, image: Image.Image, opened: Opened) -> bool:  # noqa: ARG002
        """Whether the decoded ``image`` has all of its pixels, where the decoder does not tell."""
        return True

    def finished(self, image: Image.Image) -> Image.Image:
        """The decoded image with what the file says beside its pixels."""
        return image
