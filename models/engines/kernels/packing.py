"""Weights as the inner loops read them: padded channels, lanes, blocks, whole pages."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeserve.models.engines.kernels.arguments import BLOCK, WORD

HUGE = 1 << 21


def event_weights(matrix: NDArray[np.int8], blocks: Sequence[int]) -> NDArray[np.int8]:
    """A matrix ``[rows, lanes]`` as events address it, flat.

    Blocks of as many lanes as ``blocks`` says, row after row; within a row the first half of
    a block's lanes are the low bytes of 16-bit words, plus 128, and the second half the high
    bytes.
    """
    packed, start = [np.zeros(0, np.int8)], 0
    for width in blocks:
        halves = matrix[:, start : start + width].reshape(-1, 2, width // 2)
        low = (halves[:, 0] + np.int16(128)).astype(np.uint8).view(np.int8)
        packed.append(np.stack([low, halves[:, 1]], axis=2).ravel())
        start += width
    return np.concatenate(packed)


def wide_weights(matrix: NDArray[np.int16], blocks: Sequence[int]) -> NDArray[np.int16]:
    """A matrix ``[rows, lanes]`` of more than 8 bits as events address it, flat: the same blocks,
    lane after lane."""
    packed, start = [np.zeros(0, np.int16)], 0
    for width in blocks:
        packed.append(matrix[:, start : start + width].ravel())
        start += width
    return np.concatenate(packed)


def analog_weights(matrix: NDArray[Any], kernel_height: int) -> NDArray[np.int16]:
    """A matrix ``[rows, lanes]`` for two inputs at a time, flat.

    Blocks of 64 lanes, window row after window row; each row's inputs in pairs, an odd last
    one beside a zero weight, and a lane's two weights side by side.
    """
    lanes = matrix.shape[1]
    inputs = matrix.reshape(kernel_height, -1, lanes)
    even = np.pad(inputs, ((0, 0), (0, inputs.shape[1] % 2), (0, 0)))
    pairs = even.reshape(kernel_height, -1, 2, lanes // WORD, WORD)
    return pairs.transpose(3, 0, 1, 4, 2).astype(np.int16).ravel()


def blocks_of(lanes: int) -> list[int]:
    """The blocks in which lanes are summed: 128 each, and a last one of 64."""
    return [BLOCK] * (lanes // BLOCK) + [WORD] * (lanes % BLOCK // WORD)


def lanes_of(channels: int) -> int:
    """Lanes for so many channels: whole mask words."""
    return -(-channels // WORD) * WORD


def padded(values: NDArray[Any]) -> NDArray[Any]:
    """Zeros appended along the last axis up to whole mask words."""
    missing = -values.shape[-1] % WORD
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)])


def bits(flags: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """64 flags a word, the first one lowest."""
    return np.packbits(flags, bitorder="little").view("<u8").astype(np.uint64)


def aligned(values: NDArray[Any]) -> NDArray[Any]:
    """A copy that starts on a huge page's boundary, in such pages where the system gives them.

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
