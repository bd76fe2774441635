"""From bytes a stranger sent to the network's pixels; refuses what it cannot trust."""

from __future__ import annotations

import io
import math
import struct
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from spikeserve.models.layers import Shape
from spikeserve.service.errors import ServiceError, UnsupportedMedia, UnusableImage

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")  # magic bytes decide, never the Content-Type
# A scan costs the decoder time in proportion to the picture, and the file 95 bytes.
MAX_JPEG_SCANS = 100
START_OF_SCAN = b"\xff\xda"
PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"  # what follows is width and height
SMALL_PNG_BYTES, SMALL_PNG_PIXELS = 8192, 64 * 64
WIDE_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
QUARTER_TURNS = tuple(UPRIGHT[orientation] for orientation in (5, 6, 7, 8))

warnings.simplefilter("error", Image.DecompressionBombWarning)


def is_small_png(data: bytes) -> bool:
    """Whether decoding takes less time than handing the file to another thread would."""
    return (
        len(PNG_START) + 8 <= len(data) <= SMALL_PNG_BYTES
        and data.startswith(PNG_START)
        and math.prod(struct.unpack_from(">II", data, len(PNG_START))) <= SMALL_PNG_PIXELS
    )


def decode_image(data: bytes, shape: Shape, max_pixels: int) -> NDArray[np.uint8]:
    """Decode, orient, convert and fit an image to ``shape = (height, width, channels)``.

    An image of exactly that size passes through untouched; any other is centre-cropped to
    the aspect ratio and resampled. Transparency is laid on white.

    Raises:
        UnsupportedMedia: not one of ``FORMATS``.
        UnusableImage: damaged, animated, or more than ``max_pixels``.
    """
    if not data:
        raise UnsupportedMedia("the body is empty; send an image")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check(image, data, max_pixels)
            return _fitted(image, shape)
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
    # The further frames of an MPO are a camera's previews and depth maps, no animation.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise UnusableImage("animated images have no single class; send one frame")
    if image.format in ("JPEG", "MPO") and data.count(START_OF_SCAN) > MAX_JPEG_SCANS:
        raise UnusableImage(f"more than {MAX_JPEG_SCANS} JPEG scans")


def _fitted(image: Image.Image, shape: Shape) -> NDArray[np.uint8]:
    """Resample first and convert the small result, so that a large image is never copied whole."""
    height, width, channels = shape
    image.draft("RGB", (4 * width, 4 * height))  # large JPEGs: decode at a fraction of the size
    turn = UPRIGHT.get(_orientation(image))
    small = _resampled(image, (height, width) if turn in QUARTER_TURNS else (width, height))
    if turn is not None:
        small = small.transpose(turn)
    return np.asarray(_opaque(small, "RGB" if channels == 3 else "L"), np.uint8).reshape(shape)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) where it is missing or unreadable."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # broken metadata around intact pixels
        return 1


def _resampled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.size == size:
        return image
    if image.mode in WIDE_MODES:
        image = image.convert("F")
    elif image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode not in ("RGB", "L"):
        image = image.convert("RGB")
    return ImageOps.fit(image, size, Image.Resampling.BICUBIC)


def _opaque(image: Image.Image, mode: str) -> Image.Image:
    """Eight bits a channel, transparency on white."""
    if image.mode in WIDE_MODES:
        wide = np.asarray(image, np.float32) / 257  # 16 bits to 8
        image = Image.fromarray(wide.clip(0, 255).round().astype(np.uint8))
    elif image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return image if image.mode == mode else image.convert(mode)
