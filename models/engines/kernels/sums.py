"""Sums of one output row, for the lanes of one block: three ways to the same currents.

Compiled by numba.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from spikeserve.models.engines.kernels.arguments import (
    ABSENT,
    BLOCK,
    WORD,
    Events,
    Inputs,
    Reading,
    Weights,
)
from spikeserve.models.engines.kernels.vectors import (
    add_gated,
    convolve_1,
    convolve_4,
    count_events,
    gather_64,
    gather_128,
    gather_shorts_64,
    gather_shorts_128,
    gather_wide_64,
    gather_wide_128,
)
from spikeserve.models.engines.kernels.windows import overlap
from spikeserve.models.layers.lif import MEMBRANE_MAX as INT16_MAX
from spikeserve.models.layers.lif import MEMBRANE_MIN as INT16_MIN


@njit
def clipped(value: Any) -> Any:
    return np.int16(min(max(value, np.int32(INT16_MIN)), np.int32(INT16_MAX)))


@njit
def rescale(currents: Any, at: int, count: int, gain: int, shift: int) -> None:
    """Spikes that stand for ``gain``: the sums as the analog way would give them."""
    for k in range(at, at + count):
        currents[k] = clipped((np.int32(currents[k]) * np.int32(gain)) >> np.int32(shift))


def _event_row(width: int, gather: Any, gather_wide: Any) -> Any:
    @njit
    def row(
        layer: Any, part: Any, y: int, lane: int, gain: int, events: Events, weights: Any,
        currents: Any,
    ) -> int:  # fmt: skip
        places, pointer = events
        rescaled = gain > 1 or layer.shift > 0
        pairs = 0
        top = y * layer.stride_y - layer.padding_y
        first, last = overlap(top, layer.kernel_height, layer.height)
        skip = layer.kernel_width * part.channels * width  # weights of one window row
        weights_at = part.event_at + lane * part.rows + (first - top) * skip
        for x in range(layer.out_width):
            left = x * layer.stride_x - layer.padding_x
            begin, end = overlap(left, layer.kernel_width, layer.width)
            from_, to = first * layer.width + begin, first * layer.width + end
            base = weights_at - left * part.channels * width
            events_here = gather(
                places, pointer, from_, to, layer.width, last - first, weights, base, skip,
                currents, x * width,
            )  # fmt: skip
            if events_here > part.safe_events:  # rare but for wide weights: in 32 bits
                gather_wide(
                    places, pointer, from_, to, layer.width, last - first, weights, base, skip,
                    gain, layer.shift, currents, x * width,
                )  # fmt: skip
            elif rescaled:
                rescale(currents, x * width, width, gain, layer.shift)
            pairs += events_here
        return pairs

    return row


_event_row_64 = _event_row(64, gather_64, gather_wide_64)
_event_row_128 = _event_row(128, gather_128, gather_wide_128)
_wide_row_64 = _event_row(64, count_events, gather_shorts_64)
_wide_row_128 = _event_row(128, count_events, gather_shorts_128)


@njit
def event_row(
    layer: Any, part: Any, y: int, lane: int, width: int, gain: int, events: Events, weights: Any,
    currents: Any,
) -> int:  # fmt: skip
    """Add up the weight rows that events address; returns how many: the output row's active pairs.

    Args:
        lane: where the block begins among the part's lanes.
        width: of the block, ``BLOCK`` or ``WORD``.
        gain: what a spike counts for.
    """
    if width == BLOCK:
        return _event_row_128(layer, part, y, lane, gain, events, weights, currents)
    return _event_row_64(layer, part, y, lane, gain, events, weights, currents)


@njit
def wide_row(
    layer: Any, part: Any, y: int, lane: int, width: int, gain: int, events: Events, weights: Any,
    currents: Any,
) -> int:  # fmt: skip
    """The same for weights of more than 8 bits."""
    if width == BLOCK:
        return _wide_row_128(layer, part, y, lane, gain, events, weights, currents)
    return _wide_row_64(layer, part, y, lane, gain, events, weights, currents)


@njit
def analog_row(
    layer: Any, part: Any, y: int, lane: int, gain: int, padded: Any, weights: Any, currents: Any
) -> None:
    """Currents of one output row for analog inputs: a dense convolution, times ``gain``, shifted
    right."""
    pitch = (layer.width + 2 * layer.padding_x) * part.channels
    gap = layer.stride_x * part.channels
    pairs = (layer.kernel_width * part.channels + 1) // 2  # of inputs in a window row
    weights_at = part.analog_at + lane * layer.kernel_height * pairs * 2
    x = 0
    while x < layer.out_width:
        at = y * layer.stride_y * pitch + x * gap
        if x + 4 <= layer.out_width:
            convolve_4(
                padded, at, pitch, gap, layer.kernel_height, pairs, weights, weights_at,
                gain, layer.shift, currents, x * WORD,
            )  # fmt: skip
            x += 4
        else:
            convolve_1(
                padded, at, pitch, gap, layer.kernel_height, pairs, weights, weights_at,
                gain, layer.shift, currents, x * WORD,
            )  # fmt: skip
            x += 1


@njit
def add_depthwise_row(
    layer: Any, y: int, lane: int, width: int, masks: Any, weights: Any, currents: Any
) -> None:  # fmt: skip
    """Add to a row where every channel sees itself alone: masks choose among weights."""
    words = layer.lanes // WORD
    top = y * layer.stride_y - layer.padding_y
    first, last = overlap(top, layer.kernel_height, layer.height)
    skip = layer.kernel_width * layer.lanes
    for x in range(layer.out_width):
        left = x * layer.stride_x - layer.padding_x
        begin, end = overlap(left, layer.kernel_width, layer.width)
        pixel = layer.source_at + (first * layer.width + begin) * words
        base = layer.depthwise_at + (first - top) * skip + (begin - left) * layer.lanes
        for start in range(lane, lane + width, WORD):
            add_gated(
                masks, pixel + start // WORD, layer.width * words, words, last - first,
                end - begin, weights, base + start, skip, layer.lanes, currents,
                x * width + start - lane,
            )  # fmt: skip


# The next two are inlined: calls would copy dozens of arguments for every row.
@njit(inline="always")
def sum_row(
    layer: Any, part: Any, y: int, lane: int, width: int, reading: Reading, inputs: Inputs,
    weights: Weights, currents: Any,
) -> int:  # fmt: skip
    """Currents of one output row; returns the active pairs of spikes, if it counted them."""
    pairs, gain = 0, reading.gain
    if gain == 0:
        analog_row(
            layer, part, y, lane, reading.analog_gain, inputs.padded, weights.analog, currents
        )
    elif layer.depthwise_at != ABSENT:
        for k in range(layer.out_width * width):
            currents[k] = 0
        add_depthwise_row(layer, y, lane, width, inputs.masks, weights.depthwise, currents)
        if layer.shift:
            rescale(currents, 0, layer.out_width * width, gain, layer.shift)
    elif layer.wide:
        pairs = wide_row(layer, part, y, lane, width, gain, inputs.events, weights.wide, currents)
    else:
        pairs = event_row(layer, part, y, lane, width, gain, inputs.events, weights.event, currents)
    return pairs


@njit(inline="always")
def add_shortcut_row(
    shortcut: Any, part: Any, y: int, lane: int, width: int, inputs: Inputs, weights: Weights,
    currents: Any, added: Any,
) -> int:  # fmt: skip
    """Add what a shortcut brings to one output row; returns a projection's active pairs."""
    pairs = 0
    if shortcut.depthwise_at != ABSENT:
        add_depthwise_row(shortcut, y, lane, width, inputs.masks, weights.depthwise, currents)
    else:
        if shortcut.wide:
            pairs = wide_row(shortcut, part, y, lane, width, 1, inputs.events, weights.wide, added)
        else:
            pairs = event_row(
                shortcut, part, y, lane, width, 1, inputs.events, weights.event, added
            )
        for k in range(shortcut.out_width * width):
            currents[k] = clipped(np.int32(currents[k]) + np.int32(added[k]))
    return pairs
