"""From bytes a stranger sent to the network's pixels; refuses what it cannot trust."""

from __future__ import annotations

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from models.network import Shape
from service.errors import UnsupportedMedia, UnusableImage

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")  # magic bytes decide, never the Content-Type

warnings.simplefilter("error", Image.DecompressionBombWarning)


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
            if image.width * image.height > max_pixels:
                raise UnusableImage(
                    f"{image.width} x {image.height} pixels; at most {max_pixels} are accepted"
                )
            if getattr(image, "n_frames", 1) > 1:
                raise UnusableImage("animated images have no single class; send one frame")
            return _fitted(image, shape)
    except UnidentifiedImageError as error:
        raise UnsupportedMedia(f"not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnusableImage(f"too many pixels; at most {max_pixels} are accepted") from error
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError) as error:
        # What Pillow's decoders raise for damaged files.
        raise UnusableImage(f"the image is damaged: {error}") from error


def _fitted(image: Image.Image, shape: Shape) -> NDArray[np.uint8]:
    height, width, channels = shape
    image.draft("RGB", (4 * width, 4 * height))  # large JPEGs: decode at a fraction of the size
    oriented = _opaque(ImageOps.exif_transpose(image)).convert("RGB" if channels == 3 else "L")
    if oriented.size != (width, height):
        oriented = ImageOps.fit(oriented, (width, height), Image.Resampling.BICUBIC)
    return np.asarray(oriented, np.uint8).reshape(shape)


def _opaque(image: Image.Image) -> Image.Image:
    """Eight bits a channel, no transparency."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        wide = np.asarray(image, np.float64)  # 16-bit grey: keep the high byte
        return Image.fromarray((wide / 257).clip(0, 255).round().astype(np.uint8))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba)
    return image
