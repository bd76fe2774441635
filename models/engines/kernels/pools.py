"""Pooling of spike masks and of numbers, from one buffer to another. Compiled by numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from spikeserve.models.engines.kernels.arguments import WORD
from spikeserve.models.engines.kernels.windows import overlap


@njit
def or_pool(pool: Any, masks: Any, pooled: Any) -> None:
    """Max pool of spikes: a window's are the OR of its masks."""
    words = (pool.channels + WORD - 1) // WORD
    at = 0
    for y in range(pool.out_height):
        top, bottom = overlap(y * pool.stride_y - pool.padding_y, pool.kernel_height, pool.height)
        for x in range(pool.out_width):
            left, right = overlap(x * pool.stride_x - pool.padding_x, pool.kernel_width, pool.width)
            for k in range(words):
                word = np.uint64(0)
                for i in range(top, bottom):
                    for j in range(left, right):
                        word |= masks[(i * pool.width + j) * words + k]
                pooled[at] = word
                at += 1


@njit
def spread(pool: Any, masks: Any, values: Any) -> None:
    """Spike masks as numbers 0 and 1."""
    words = (pool.channels + WORD - 1) // WORD
    at = 0
    for pixel in range(pool.height * pool.width):
        for c in range(pool.channels):
            word = masks[pixel * words + c // WORD]
            values[at] = np.int32((word >> np.uint64(c % WORD)) & np.uint64(1))
            at += 1


@njit
def value_pool(pool: Any, values: Any, pooled: Any) -> None:
    """Max or sum pool of numbers; none is negative, so zeros around a map change nothing."""
    at = 0
    for y in range(pool.out_height):
        top, bottom = overlap(y * pool.stride_y - pool.padding_y, pool.kernel_height, pool.height)
        for x in range(pool.out_width):
            left, right = overlap(x * pool.stride_x - pool.padding_x, pool.kernel_width, pool.width)
            for c in range(pool.channels):
                result = np.int32(0)
                for i in range(top, bottom):
                    for j in range(left, right):
                        value = values[(i * pool.width + j) * pool.channels + c]
                        result = result + value if pool.summed else max(result, value)
                pooled[at] = result
                at += 1
