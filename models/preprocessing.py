"""From an image to the network's pixels: the same crop, resampling and orientation everywhere.

The service, the Python API, calibration and training all see what :func:`fitted` makes. The data
sets we train on come in the network's own size, which passes through untouched; one that does not
is brought to it here, by :func:`pixels`.
"""

from __future__ import annotations

import io
import os
from math import inf
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from spikeserve.models.containers import container_of
from spikeserve.models.containers.container import Container
from spikeserve.models.encoding import Pixels
from spikeserve.models.errors import InvalidImage, UnknownFormat
from spikeserve.models.layers import Shape

ImageSource = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8]
"""A path, the bytes of an image file, a Pillow image, or uint8 ``[H, W, C]``."""

BOMB = 2  # as Pillow has it: twice the pixels that it warns of
WIDE_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
WHITE = 65535
CHANNELS = (1, 3, 4)  # grey, RGB, RGBA
# ImageOps.exif_transpose turns the large image, not the small result, and fails on broken EXIF.
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


def pixels(image: ImageSource, shape: Shape) -> Pixels:
    """Any image as the network takes it, uint8 ``[H, W, C]`` of the given ``shape``.

    Trusts its caller: the service limits what strangers send before it comes here.

    Raises:
        InvalidImage: not an image, damaged, animated, or an array of another kind.
        OSError: the file cannot be read.
    """
    if isinstance(image, str | os.PathLike):
        image = Path(image).read_bytes()
    try:
        if not isinstance(image, bytes):
            return fitted(_picture(image), shape)
        try:
            container = container_of(image)
        except UnknownFormat:
            return _pixels_of_another_kind(image, shape)
        if container.pixels > BOMB * (Image.MAX_IMAGE_PIXELS or inf):
            raise InvalidImage(f"{container.pixels} pixels; see PIL.Image.MAX_IMAGE_PIXELS")
        return decoded(container, container.essence(), shape)
    except (InvalidImage, MemoryError):
        raise
    except Exception as error:  # damaged files make Pillow's decoders raise almost anything
        raise InvalidImage(f"no image that can be decoded: {error}") from error


def decoded(container: Container, essence: bytes, shape: Shape) -> Pixels:
    """The picture in a container, fitted to ``shape`` as :func:`fitted` does.

    Raises:
        InvalidImage: pixels are missing. Pillow raises almost anything where a file is damaged.
    """

    def opened(data: bytes, reduce: bool) -> Image.Image:
        file = container.decoder(io.BytesIO(data))
        if file.size != (container.width, container.height):
            raise InvalidImage("the file tells its size in two ways")  # only one was counted
        if reduce:
            _draft(file, shape)
        file.load()
        return file

    image = opened(essence, True)
    if not container.is_whole(image, opened):
        raise InvalidImage("the file ends before its picture does")
    turn = _turn(image) if container.has_metadata else None
    image = container.finished(image)
    if image.size not in (shape[1::-1], shape[:2]):
        image = _resamplable(image)  # here, where nothing else keeps the one before
    return _fitted(image, shape, turn)


def _pixels_of_another_kind(data: bytes, shape: Shape) -> Pixels:
    """What only Pillow knows."""
    with Image.open(io.BytesIO(data)) as file:
        if getattr(file, "n_frames", 1) > 1:
            raise InvalidImage("animated images have no single class; give one frame")
        return fitted(file, shape)


def fitted(image: Image.Image, shape: Shape) -> Pixels:
    """Orient, convert and fit an image to ``shape = (height, width, channels)``.

    An image of exactly that size passes through untouched; any other is centre-cropped to
    the aspect ratio and resampled. Transparency is laid on white. A large JPEG that has not
    been decoded yet is decoded at a fraction of its size, and stays so.

    Resamples first and converts the small result, so that a large image is copied once at most.
    """
    _draft(image, shape)
    return _fitted(image, shape, _turn(image))


def _fitted(image: Image.Image, shape: Shape, turn: Image.Transpose | None) -> Pixels:
    height, width, channels = shape
    small = _resampled(image, (height, width) if turn in QUARTER_TURNS else (width, height))
    if turn is not None:
        small = small.transpose(turn)
    opaque = _opaque(small, "RGB" if channels == 3 else "L")
    return np.frombuffer(opaque.tobytes(), np.uint8).reshape(shape)


def is_one_image(images: object, dimensions: int = 3) -> bool:
    """Whether this is one image, or another input of so many ``dimensions``, where several were
    expected."""
    if isinstance(images, np.ndarray):
        return images.ndim == dimensions
    return isinstance(images, str | os.PathLike | bytes | Image.Image)


def _picture(image: Image.Image | NDArray[np.uint8]) -> Image.Image:
    if isinstance(image, Image.Image):
        if not image.width * image.height:
            raise InvalidImage("an image without pixels")
        image.load()  # or fitted() would leave the caller's JPEG at a fraction of its size
        return image
    if not isinstance(image, np.ndarray):
        raise InvalidImage(
            "an image is a path, bytes, a Pillow image or a uint8 array [H, W, C], "
            f"not {type(image).__name__}"
        )
    right = image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] in CHANNELS
    if not right or not image.size:
        raise InvalidImage(
            f"an array must be uint8 [H, W, C] with 1, 3 or 4 channels, not {image.dtype} "
            f"{list(image.shape)}"
        )
    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What turns the image upright; nothing where its orientation is missing or unreadable."""
    try:
        return UPRIGHT.get(int(image.getexif().get(ExifTags.Base.Orientation, 1)))
    except Exception:  # broken metadata around intact pixels
        return None


def _draft(image: Image.Image, shape: Shape) -> None:
    """Have a JPEG decoded at the smallest fraction that is still several times ``shape``."""
    image.draft("RGB", (4 * shape[1], 4 * shape[0]))


def _resampled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.size == size:
        return image
    return ImageOps.fit(_resamplable(image), size, Image.Resampling.BICUBIC)


def _resamplable(image: Image.Image) -> Image.Image:
    """In a mode whose values may be averaged; transparency, where there is any, as alpha."""
    if image.mode in WIDE_MODES:
        return _wide(image)
    if image.has_transparency_data:
        return image if image.mode == "RGBA" else image.convert("RGBA")
    return image if image.mode in ("RGB", "L") else image.convert("RGB")


def _wide(image: Image.Image) -> Image.Image:
    """In floating point. Such modes have no alpha: a value that is transparent becomes white."""
    if "transparency" not in image.info:
        return image if image.mode == "F" else image.convert("F")
    values = np.array(image, np.float32)
    values[values == image.info["transparency"]] = WHITE
    return Image.fromarray(values)


def _opaque(image: Image.Image, mode: str) -> Image.Image:
    """Eight bits a channel, transparency on white."""
    if image.mode in WIDE_MODES:
        wide = np.asarray(_wide(image)) / 257  # 16 bits to 8
        image = Image.fromarray(wide.clip(0, 255).round().astype(np.uint8))
    elif image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return image if image.mode == mode else image.convert(mode)
