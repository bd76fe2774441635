"""What a part of a layer reads: its inputs as events, or inside a frame of zeros; active pairs.

An *event* is a non-zero input, stored as its place in its input row, ``column * channels +
channel``, counting the part's channels only. Compiled by numba.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from spikeserve.models.engines.kernels.arguments import ABSENT, WORD, Events
from spikeserve.models.engines.kernels.vectors import population, trailing_zeros

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
def total(layer: Any, values: Any) -> int:
    """What the inputs of a layer add up to."""
    added = 0
    for k in range(layer.height * layer.width * layer.channels):
        added += values[k]
    return added


@njit
def mask_events(masks: Any, layer: Any, part: Any, read_masks: Any, events: Events) -> None:
    """Events of spike masks; ``events.places`` has room for a burst at its end."""
    places, pointer = events
    words = (layer.channels + WORD - 1) // WORD
    count, at = 0, layer.source_at
    pointer[0] = 0
    for y in range(layer.height):
        for x in range(layer.width):
            first = x * part.channels - part.first_channel
            for k in range(part.first_word, part.last_word):
                word = masks[at + k] & read_masks[part.read_at + k]
                base = first + k * WORD
                spikes = population(word)
                # Writing a burst whatever the count costs less than guessing its length.
                for start in range(0, spikes, BURST):
                    for j in range(BURST):
                        places[count + start + j] = base + trailing_zeros(word)
                        word &= word - np.uint64(1)
                count += spikes
            at += words
            pointer[y * layer.width + x + 1] = count


@njit
def value_events(values: Any, layer: Any, part: Any, events: Events) -> None:
    """Events of numbers that are all 0 or the same."""
    places, pointer = events
    count, at = 0, part.first_channel
    pointer[0] = 0
    for y in range(layer.height):
        for x in range(layer.width):
            for c in range(part.channels):
                places[count] = x * part.channels + c
                count += values[at + c] != 0
            at += layer.channels
            pointer[y * layer.width + x + 1] = count


@njit
def repeated_events(values: Any, layer: Any, part: Any, events: Events) -> None:
    """Events of counts: as many in a row as each counts, of which there must be room for all."""
    places, pointer = events
    count, at = 0, part.first_channel
    pointer[0] = 0
    for y in range(layer.height):
        for x in range(layer.width):
            for c in range(part.channels):
                for _ in range(values[at + c]):
                    places[count] = x * part.channels + c
                    count += 1
            at += layer.channels
            pointer[y * layer.width + x + 1] = count


@njit
def pad_values(
    values: Any, layer: Any, part: Any, coverage: Any, paddings: Any, padding_at: int, padded: Any
) -> int:
    """Copy analog inputs into a frame of padding; returns their active pairs."""
    pitch = (layer.width + 2 * layer.padding_x) * part.channels
    size = (layer.height + 2 * layer.padding_y) * pitch
    if padding_at == ABSENT:
        for k in range(size):
            padded[k] = 0
    else:
        for k in range(size):
            padded[k] = paddings[padding_at + part.first_channel + k % part.channels]
    pairs, place, most = 0, part.first_channel, np.int32(layer.largest_pairs)
    for y in range(layer.height):
        at = (y + layer.padding_y) * pitch + layer.padding_x * part.channels
        for x in range(layer.width):
            active = 0
            for c in range(part.channels):
                padded[at] = values[place + c]
                active += min(values[place + c], most)
                at += 1
            place += layer.channels
            pairs += active * coverage[layer.coverage_at + y * layer.width + x]
    return pairs


@njit
def mask_pairs(masks: Any, layer: Any, coverage: Any) -> int:
    """Active pairs of spikes: each with every window that sees it."""
    words = (layer.channels + WORD - 1) // WORD
    pairs = 0
    for pixel in range(layer.height * layer.width):
        active = 0
        for k in range(words):
            active += population(masks[layer.source_at + pixel * words + k])
        pairs += active * coverage[layer.coverage_at + pixel]
    return pairs


@njit
def value_pairs(values: Any, layer: Any, coverage: Any) -> int:
    """Active pairs of numbers: of each that is not 0, or as many as it counts."""
    pairs, most = 0, np.int32(layer.largest_pairs)
    for pixel in range(layer.height * layer.width):
        active = 0
        for c in range(layer.channels):
            active += min(values[pixel * layer.channels + c], most)
        pairs += active * coverage[layer.coverage_at + pixel]
    return pairs
