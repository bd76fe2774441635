"""From a file or an array to a recording: frames of counted events, as a network takes them.

A recording is uint8 ``[T, H, W, C]``, one frame a timestep, in a ``.npy`` file.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from spikeserve.models.encoding import Pixels
from spikeserve.models.errors import InvalidImage, UnknownFormat

RecordingSource = str | os.PathLike[str] | bytes | NDArray[np.uint8]
"""A path, the bytes of a ``.npy`` file, or uint8 ``[T, H, W, C]``."""

MAX_HEADER = 4096
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def recording(source: RecordingSource, shape: tuple[int, ...]) -> Pixels:
    """The frames of ``source``, of exactly the given ``shape (T, H, W, C)``; bytes are not copied.

    Raises:
        UnknownFormat: no ``.npy`` file.
        InvalidImage: damaged, or an array of another type or shape.
        OSError: the file cannot be read.
    """
    if isinstance(source, str | os.PathLike):
        source = Path(source).read_bytes()
    if isinstance(source, bytes):
        return _stored(source, shape)
    if not isinstance(source, np.ndarray):
        raise InvalidImage(
            f"a recording is a path, bytes or a uint8 array {_said(shape)}, "
            f"not {type(source).__name__}"
        )
    _check(source.dtype, source.shape, shape)
    return np.ascontiguousarray(source)


def _stored(data: bytes, shape: tuple[int, ...]) -> Pixels:
    file = io.BytesIO(data)
    try:
        version = npy.read_magic(file)
    except ValueError as error:
        raise UnknownFormat(
            f"this model takes recordings, not images: a .npy file with uint8 {_said(shape)}, "
            "timesteps first, channels last"
        ) from error
    try:
        read_header = HEADERS[version]
        given, fortran, dtype = read_header(file, max_header_size=MAX_HEADER)
    except Exception as error:  # numpy parses the header as Python
        raise InvalidImage("the .npy file's header is damaged, or of a newer version") from error
    _check(dtype, given, shape)
    if fortran:
        raise InvalidImage("the .npy file is column-major; save np.ascontiguousarray(frames)")
    values = memoryview(data)[file.tell() :]
    if len(values) != int(np.prod(shape)):
        raise InvalidImage(f"the .npy file has {len(values)} values, not those of {_said(shape)}")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _check(dtype: np.dtype[np.generic], given: tuple[int, ...], shape: tuple[int, ...]) -> None:
    if dtype != np.uint8:
        raise InvalidImage(
            f"frames are {dtype}; counts of events are uint8: frames.clip(0, 255).astype('uint8')"
        )
    if given != shape:
        wanted = f"{_said(shape)}, timesteps first, channels last"
        last = (shape[0], shape[3], *shape[1:3])
        advice = "; frames.transpose(0, 2, 3, 1) brings them there" if given == last else ""
        raise InvalidImage(f"frames are {_said(given)}, this model takes {wanted}{advice}")


def _said(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
