"""Pooling of spike masks and of numbers. Compiled by numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from spikeserve.models.engines.kernels.vectors import WORD


@njit
def or_pool(pool: Any, words: int, masks: Any) -> None:
    """Max pool of spikes, in place: results never overtake what is still to be read."""
    at = 0
    for y in range(pool.out_height):
        for x in range(pool.out_width):
            for k in range(words):
                word = np.uint64(0)
                for i in range(pool.kernel):
                    for j in range(pool.kernel):
                        place = (y * pool.kernel + i) * pool.width + x * pool.kernel + j
                        word |= masks[place * words + k]
                masks[at] = word
                at += 1


@njit
def spread(pool: Any, words: int, masks: Any, values: Any) -> None:
    """Spike masks as numbers 0 and 1."""
    at = 0
    for position in range(pool.height * pool.width):
        for c in range(pool.channels):
            word = masks[position * words + c // WORD]
            values[at] = np.int32((word >> np.uint64(c % WORD)) & np.uint64(1))
            at += 1


@njit
def value_pool(pool: Any, values: Any) -> None:
    """Max or sum pool of numbers, in place."""
    at = 0
    for y in range(pool.out_height):
        for x in range(pool.out_width):
            for c in range(pool.channels):
                result = np.int32(0)
                for i in range(pool.kernel):
                    for j in range(pool.kernel):
                        place = (y * pool.kernel + i) * pool.width + x * pool.kernel + j
                        value = values[place * pool.channels + c]
                        result = result + value if pool.summed else max(result, value)
                values[at] = result
                at += 1
