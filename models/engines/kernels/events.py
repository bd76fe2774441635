"""Inputs as events: the places of what is not zero, in reading order. Compiled by numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from spikeserve.models.engines.kernels.vectors import WORD, population, trailing_zeros

BURST = 8  # events written before looking again


@njit
def uniform_value(frame: Any) -> int:
    """The one non-zero value of a frame of spikes; 0 where values differ (an analog frame)."""
    value = 0
    for k in range(frame.size):
        if frame[k] != 0:
            if value == 0:
                value = int(frame[k])
            elif value != frame[k]:
                return 0
    return max(value, 1)


@njit
def frame_events(frame: Any, layer: Any, events: Any, pointer: Any) -> None:
    """Events of ``frame [h * w * c]`` in reading order; pixel i's end at ``pointer[i + 1]``."""
    count, place = 0, 0
    pointer[0] = 0
    for y in range(layer.height):
        for x in range(layer.width):
            for c in range(layer.channels):
                events[count] = x * layer.channels + c
                count += frame[place] != 0
                place += 1
            pointer[y * layer.width + x + 1] = count


@njit
def mask_events(masks: Any, layer: Any, words: int, events: Any, pointer: Any) -> None:
    """Events of spike masks ``[h * w * words]``; ``events`` has room for a burst at its end."""
    count, at = 0, 0
    pointer[0] = 0
    for y in range(layer.height):
        for x in range(layer.width):
            for k in range(words):
                word = masks[at]
                at += 1
                base = x * layer.channels + k * WORD
                spikes = population(word)
                # Writing a burst whatever the count costs less than guessing its length.
                for start in range(0, spikes, BURST):
                    for j in range(BURST):
                        events[count + start + j] = base + trailing_zeros(word)
                        word &= word - np.uint64(1)
                count += spikes
            pointer[y * layer.width + x + 1] = count


@njit
def pad_values(values: Any, layer: Any, coverage: Any, padded: Any) -> int:
    """Copy analog inputs into a frame of zeros; returns their active pairs."""
    pitch = (layer.width + 2 * layer.padding) * layer.channels
    padded[: (layer.height + 2 * layer.padding) * pitch] = 0
    pairs, place = 0, 0
    for y in range(layer.height):
        at = (y + layer.padding) * pitch + layer.padding * layer.channels
        for x in range(layer.width):
            active = 0
            for _ in range(layer.channels):
                padded[at] = values[place]
                active += values[place] != 0
                at += 1
                place += 1
            pairs += active * coverage[layer.coverage_at + y * layer.width + x]
    return pairs
