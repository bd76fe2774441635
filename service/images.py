"""From bytes that a stranger sent to an image that may be decoded; refuses what it cannot trust."""

from __future__ import annotations

from typing import NamedTuple

from spikeserve.models.containers import container_of
from spikeserve.models.containers.container import WORKSPACE_BYTES, Container
from spikeserve.models.containers.png import Png
from spikeserve.models.encoding import Pixels
from spikeserve.models.errors import InvalidImage, UnknownFormat
from spikeserve.models.layers import Shape
from spikeserve.models.preprocessing import decoded
from spikeserve.models.recordings import recording
from spikeserve.service.errors import ServiceError, UnsupportedMedia, UnusableImage

MAX_WORK = 1 << 30  # pixels times passes: about a second of a decoder
SMALL_BYTES, SMALL_PIXELS = 8192, 64 * 64
USUAL_SHAPE = (32, 32, 3)


class Inspection(NamedTuple):
    """What an image file will cost, told from its head."""

    format: str
    width: int
    height: int
    memory_bytes: int
    """The most that decoding and fitting take at once, the file itself not counted."""
    work: int
    """Pixels to decode, as often as the decoder is expected to pass over them."""
    small: bool
    """Whether decoding takes less time than handing the file to another thread would."""


def inspect(data: bytes, max_pixels: int, shape: Shape = USUAL_SHAPE) -> Inspection:
    """Look at an image file without decoding it, in microseconds whatever it holds.

    A JPEG takes the less memory, the smaller the network's ``shape``.

    Raises:
        UnsupportedMedia: not one of ``containers.FORMATS``.
        UnusableImage: damaged in its head, more than ``max_pixels``, or surely too much work.
    """
    return _inspection(_container(data, max_pixels), shape)


def decoded_or_inspected(data: bytes, shape: Shape, max_pixels: int) -> Pixels | Inspection:
    """A small file's pixels, and for all others what they will cost.

    Raises:
        UnsupportedMedia, UnusableImage: see :func:`inspect` and :func:`decode_image`.
    """
    container = _container(data, max_pixels)
    inspection = _inspection(container, shape)
    return _decoded(container, shape) if inspection.small else inspection


def decoded_recording(data: bytes, shape: tuple[int, ...]) -> Pixels:
    """The frames ``shape = (T, H, W, C)`` of a ``.npy`` file; they share its memory.

    Raises:
        UnsupportedMedia: another kind of file.
        UnusableImage: damaged, or of another type or shape.
    """
    try:
        return recording(data, shape)
    except UnknownFormat as error:
        raise UnsupportedMedia(str(error)) from error
    except InvalidImage as error:
        raise UnusableImage(str(error)) from error


def decode_image(data: bytes, shape: Shape, max_pixels: int) -> Pixels:
    """Decode an image file and fit it to ``shape``, as :func:`preprocessing.fitted` does.

    Format, size and work are limited before a pixel is decoded.

    Raises:
        UnsupportedMedia: not one of ``containers.FORMATS``.
        UnusableImage: damaged, animated, more than ``max_pixels``, or too much work.
    """
    return _decoded(_container(data, max_pixels), shape)


def _inspection(container: Container, shape: Shape) -> Inspection:
    small = _is_small(container)
    memory = WORKSPACE_BYTES if small else container.memory_bytes(shape)
    width, height = container.width, container.height
    return Inspection(container.format, width, height, memory, container.work, small)


def _decoded(container: Container, shape: Shape) -> Pixels:
    try:
        essence = container.essence()
        _refuse_work(container)  # its scans are counted now
        return decoded(container, essence, shape)
    except (ServiceError, MemoryError):
        raise
    except InvalidImage as error:
        raise UnusableImage(str(error)) from error
    except Exception as error:  # damaged files make Pillow's decoders raise almost anything
        raise UnusableImage(f"the image is damaged: {error}") from error


def _container(data: bytes, max_pixels: int) -> Container:
    if not data:
        raise UnsupportedMedia("the body is empty; send an image")
    try:
        container = container_of(data)
    except UnknownFormat as error:
        raise UnsupportedMedia(str(error)) from error
    except InvalidImage as error:
        raise UnusableImage(str(error)) from error
    if container.pixels > max_pixels:
        raise UnusableImage(
            f"{container.width} x {container.height} pixels; at most {max_pixels} are accepted"
        )
    _refuse_work(container)
    return container


def _refuse_work(container: Container) -> None:
    if container.work > MAX_WORK:
        raise UnusableImage(
            f"{container.width} x {container.height} pixels of this {container.format} would take "
            "too long to decode; save it in fewer scans, or without run lengths"
        )


def _is_small(container: Container) -> bool:
    return (
        isinstance(container, Png)
        and len(container.data) <= SMALL_BYTES
        and container.pixels <= SMALL_PIXELS
        and container.is_short()
    )
