"""From bytes that a stranger sent to an image that may be decoded; refuses what it cannot trust."""

from __future__ import annotations

import io
import math
import struct
import warnings
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from spikeserve.models.encoding import Pixels
from spikeserve.models.layers import Shape
from spikeserve.models.preprocessing import fitted, is_animated
from spikeserve.service.errors import ServiceError, UnsupportedMedia, UnusableImage

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")  # magic bytes decide, never the Content-Type
# A scan costs the decoder time in proportion to the picture, and the file 95 bytes.
MAX_JPEG_SCANS = 100
START_OF_SCAN = b"\xff\xda"
PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"  # what follows is width and height
SMALL_PNG_BYTES, SMALL_PNG_PIXELS = 8192, 64 * 64

warnings.simplefilter("error", Image.DecompressionBombWarning)


class Inspection(NamedTuple):
    """What an image file will cost, told from its head."""

    format: str
    width: int
    height: int
    memory_bytes: int
    """The most that decoding and fitting take at once, the file itself not counted."""
    work: int
    """Pixels to decode, as often as the decoder passes over them."""
    small: bool
    """Whether decoding takes less time than handing the file to another thread would."""


def inspect(data: bytes, max_pixels: int, shape: Shape | None = None) -> Inspection:
    """Look at an image file without decoding it, in microseconds whatever it holds.

    Knowing the network's ``shape``, it tells what a JPEG takes that is decoded at a fraction.

    Raises:
        UnsupportedMedia: not one of ``FORMATS``.
        UnusableImage: damaged in its head, or more than ``max_pixels``.
    """
    if is_small_png(data):
        width, height = struct.unpack_from(">II", data, len(PNG_START))
        return Inspection("PNG", width, height, 1 << 20, width * height, True)
    if not data:
        raise UnsupportedMedia("the body is empty; send an image")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check(image, data, max_pixels)
            pixels = image.width * image.height
            return Inspection(
                str(image.format), image.width, image.height, 20 * pixels + (2 << 20), pixels, False
            )
    except (ServiceError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise UnsupportedMedia(f"not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image") from error
    except Exception as error:
        raise UnusableImage(f"the image is damaged: {error}") from error


def is_small_png(data: bytes) -> bool:
    """Whether decoding takes less time than handing the file to another thread would."""
    return (
        len(PNG_START) + 8 <= len(data) <= SMALL_PNG_BYTES
        and data.startswith(PNG_START)
        and math.prod(struct.unpack_from(">II", data, len(PNG_START))) <= SMALL_PNG_PIXELS
    )


def decode_image(data: bytes, shape: Shape, max_pixels: int) -> Pixels:
    """Decode an image file and fit it to ``shape``, as :func:`preprocessing.fitted` does.

    Formats, sizes and scans are limited before a pixel is decoded.

    Raises:
        UnsupportedMedia: not one of ``FORMATS``.
        UnusableImage: damaged, animated, or more than ``max_pixels``.
    """
    if not data:
        raise UnsupportedMedia("the body is empty; send an image")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check(image, data, max_pixels)
            return fitted(image, shape)
    except (ServiceError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise UnsupportedMedia(f"not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnusableImage(f"too many pixels; at most {max_pixels} are accepted") from error
    except Exception as error:  # damaged files make Pillow's decoders raise almost anything
        raise UnusableImage(f"the image is damaged: {error}") from error


def _check(image: Image.Image, data: bytes, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise UnusableImage(
            f"{image.width} x {image.height} pixels; at most {max_pixels} are accepted"
        )
    if is_animated(image):
        raise UnusableImage("animated images have no single class; send one frame")
    if image.format in ("JPEG", "MPO") and data.count(START_OF_SCAN) > MAX_JPEG_SCANS:
        raise UnusableImage(f"more than {MAX_JPEG_SCANS} JPEG scans")
