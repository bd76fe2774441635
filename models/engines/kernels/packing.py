"""Weights as the inner loops read them: padded channels, lanes, blocks, whole pages."""

from __future__ import annotations

import mmap
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeserve.models.engines.kernels.network import BLOCK
from spikeserve.models.engines.kernels.vectors import WORD

HUGE = 1 << 21


def aligned(values: NDArray[Any]) -> NDArray[Any]:
    """A copy that starts on a page, in huge pages where the system gives them.

    A weight row then never straddles one cache line more than it must, and all of them
    need few address translations.
    """
    size = values.nbytes + HUGE + mmap.PAGESIZE
    if hasattr(mmap, "MAP_PRIVATE"):  # shared memory gets no huge pages
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    else:
        memory = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE") and values.nbytes > HUGE // 2:
        with suppress(OSError):  # a kernel built without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    raw = np.frombuffer(memory, np.uint8)
    start = -raw.ctypes.data % HUGE
    copy = raw[start : start + values.nbytes].view(values.dtype)
    copy[:] = values
    return copy


def packed(weight: NDArray[np.int8], block: int = BLOCK) -> NDArray[np.int8]:
    """Weights ``[rows, c_out]`` as the gather kernels read them, flat.

    Blocks of 128 (``block``) output channels (a last one of 64), row after row; within a row the
    first half of a block's channels are the low bytes of its 16-bit lanes, plus 128, and
    the second half the high bytes.
    """
    channels = weight.shape[1]
    edge = channels - channels % block
    parts = [_lanes(blocked(weight[:, :edge], block), block)]
    parts.append(_lanes(blocked(weight[:, edge:], WORD), WORD))
    return np.concatenate(parts)


def paired(record: Any, weight: NDArray[np.int8]) -> NDArray[np.int16]:
    """Weights ``[rows, c_out]`` for two inputs at a time, flat.

    Blocks of 64 output channels, window row after window row; each row's inputs in pairs,
    an odd last one beside a zero weight, and a channel's two weights side by side.
    """
    channels = weight.shape[1]
    taps = weight.reshape(int(record["kernel_height"]), -1, channels)
    even = np.pad(taps, ((0, 0), (0, taps.shape[1] % 2), (0, 0)))
    pairs = even.reshape(len(even), -1, 2, channels // WORD, WORD)
    return pairs.transpose(3, 0, 1, 4, 2).astype(np.int16).ravel()


def blocked(weight: NDArray[np.int8], width: int) -> NDArray[np.int8]:
    """``[rows, c_out]`` to flat ``[c_out / width, rows, width]``."""
    rows, channels = weight.shape
    return weight.reshape(rows, channels // width, width).transpose(1, 0, 2).ravel()


def _lanes(weight: NDArray[np.int8], width: int) -> NDArray[np.int8]:
    halves = weight.reshape(-1, 2, width // 2)
    low = (halves[:, 0] + np.int16(128)).astype(np.uint8).view(np.int8)
    return np.stack([low, halves[:, 1]], axis=2).ravel()


def padded(values: NDArray[Any], channels: int) -> NDArray[Any]:
    """Zeros appended along the last axis up to ``channels``."""
    missing = channels - values.shape[-1]
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)])
