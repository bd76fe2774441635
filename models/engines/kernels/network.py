"""One timestep of a whole network for one row after another: what a thread runs without the GIL.

    frame -> events -> sums of weight rows -> neurons -> spike masks -> pools -> events -> ...

An *event* is a non-zero input, stored as its place in its input row, ``column * channels +
channel``. Events lie in reading order, so those of a window's row are one contiguous run
between two pointers, for any stride, kernel and border. Adding the weight rows they address
is the whole of a spiking convolution, and the lengths of the runs are its active pairs.

What the arguments hold (shapes in :mod:`spikeserve.models.engines.kernels.layout`):

    layer       a record: geometry, where its weights and neurons begin, leak and reset
    events      places of active inputs; pixel i's lie between pointer[i] and pointer[i + 1]
    padded      analog inputs inside a frame of zeros, where a layer has any
    packed      int8 weights, two channels a lane, for events; paired: int16, for analog inputs
    gain        what a spike stands for: 1, or a pixel's value; 0 says the inputs are analog
    currents    one output row's sums; masks: one output map's spikes, 64 neurons a word
    old, new    membranes before and after; *_fired: who has spiked, as masks
    silent      neurons that can never spike; coverage: windows that see an input pixel
    kept        masks of layers that a shortcut reads; detour: the events of such masks, their
                pointer and the sums they add up to; gains: weights of shortcuts without matrix
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, njit

from spikeserve.models.engines.kernels.events import (
    frame_events,
    mask_events,
    pad_values,
    uniform_value,
)
from spikeserve.models.engines.kernels.memory import pointer_to
from spikeserve.models.engines.kernels.pools import or_pool, spread, value_pool
from spikeserve.models.engines.kernels.vectors import (
    WORD,
    add_where,
    claim,
    convolve_1,
    convolve_4,
    fire_word,
    gather_64,
    gather_128,
    population,
)

BLOCK = 128  # output channels whose sums stay in registers
ABSENT, UNWEIGHTED, PROJECTED = 0, 1, 2  # kinds of shortcuts


@njit
def sparse_row(
    layer: Any, y: int, start: int, width: int, events: Any, pointer: Any, packed: Any,
    currents: Any,
) -> int:  # fmt: skip
    """Sums of one output row for channels ``start … start + width``; returns its active pairs."""
    pairs = 0
    top = y * layer.stride - layer.padding
    first = min(max(-top, 0), layer.kernel_height)
    last = max(min(layer.kernel_height, layer.height - top), first)  # a window may lie outside
    skip = layer.kernel_width * layer.channels * width
    weights_at = layer.packed_at + start * layer.rows + first * skip
    row = (top + first) * layer.width
    for x in range(layer.out_width):
        left = x * layer.stride - layer.padding
        begin = min(max(left, 0), layer.width)
        end = row + max(min(left + layer.kernel_width, layer.width), begin)
        base = weights_at - left * layer.channels * width
        if width == BLOCK:
            pairs += gather_128(
                events, pointer, row + begin, end, layer.width, last - first, packed, base, skip,
                currents, x * BLOCK,
            )  # fmt: skip
        else:
            pairs += gather_64(
                events, pointer, row + begin, end, layer.width, last - first, packed, base, skip,
                currents, x * WORD,
            )  # fmt: skip
    return pairs


@njit
def dense_row(layer: Any, y: int, start: int, padded: Any, paired: Any, currents: Any) -> None:
    """The same for analog inputs."""
    pitch = (layer.width + 2 * layer.padding) * layer.channels
    gap = layer.stride * layer.channels
    run = (layer.kernel_width * layer.channels + 1) // 2
    weights_at = layer.paired_at + start * layer.kernel_height * run * 2
    x = 0
    while x < layer.out_width:
        at = y * layer.stride * pitch + x * gap
        if x + 4 <= layer.out_width:
            convolve_4(
                padded, at, pitch, gap, layer.kernel_height, run, paired, weights_at, layer.shift,
                currents, x * WORD,
            )  # fmt: skip
            x += 4
        else:
            convolve_1(
                padded, at, pitch, gap, layer.kernel_height, run, paired, weights_at, layer.shift,
                currents, x * WORD,
            )  # fmt: skip
            x += 1


@njit
def rescale(currents: Any, count: int, gain: int, shift: int) -> None:
    """Spikes that stand for ``gain``: the sums as the analog path would give them."""
    for k in range(count):
        currents[k] = (np.int32(currents[k]) * np.int32(gain)) >> np.int32(shift)


@njit
def keep(kept_at: int, count: int, masks: Any, kept: Any) -> None:
    """Set spikes aside for a shortcut; a negative place says that none reads them."""
    if kept_at >= 0:
        kept[kept_at : kept_at + count] = masks[:count]


@njit
def enter_shortcut(shortcut: Any, kept: Any, detour: Any) -> int:
    """Bring kept spikes to a shortcut: their events where it projects, else how many."""
    words = shortcut.words_in
    masks = kept[shortcut.kept_at : shortcut.kept_at + shortcut.height * shortcut.width * words]
    if shortcut.bypass == PROJECTED:
        events, pointer, _ = detour
        mask_events(masks, shortcut, words, events, pointer)
        return 0
    spikes = 0
    for k in range(masks.size):
        spikes += population(masks[k])
    return spikes


@njit
def shortcut_row(
    shortcut: Any, y: int, start: int, width: int, kept: Any, detour: Any, packed: Any,
    gains: Any, currents: Any,
) -> int:  # fmt: skip
    """Add what a shortcut brings to one output row; a projection's active pairs."""
    if shortcut.bypass == PROJECTED:
        events, pointer, sums = detour
        pairs = sparse_row(shortcut, y, start, width, events, pointer, packed, sums)
        for k in range(shortcut.out_width * width):
            currents[k] += sums[k]
        return pairs
    words = shortcut.words_in
    for x in range(shortcut.out_width):
        at = shortcut.kept_at + (y * shortcut.width + x) * words + start // WORD
        for k in range(width // WORD):
            if kept[at + k]:
                channel = shortcut.channels_at + start + k * WORD
                add_where(currents, x * width + k * WORD, gains, channel, kept[at + k])
    return 0


@njit
def fire_row(
    layer: Any, y: int, start: int, width: int, fresh: bool, currents: Any, biases: Any,
    thresholds: Any, silent: Any, old: Any, old_fired: Any, new: Any, new_fired: Any, masks: Any,
) -> int:  # fmt: skip
    """Neurons of one output row and channel block; returns how many spiked."""
    spiked = 0
    multiplier = np.int16(0) if fresh else layer.leak_multiplier
    keep = np.int16(0) if fresh else layer.leak_keep
    words = layer.out_channels // WORD
    for x in range(layer.out_width):
        position = y * layer.out_width + x
        for k in range(width // WORD):
            channel = start + k * WORD
            word = position * words + channel // WORD
            fired_at = layer.words_at + word
            fired = np.uint64(0) if fresh else old_fired[fired_at]
            neuron = layer.neurons_at + position * layer.out_channels + channel
            spikes = fire_word(
                currents, x * width + k * WORD, biases, thresholds, layer.channels_at + channel,
                old, new, neuron, multiplier, keep, layer.soft,
                silent[(layer.channels_at + channel) // WORD] | (fired & layer.once),
            )  # fmt: skip
            new_fired[fired_at] = fired | spikes
            masks[word] = spikes
            spiked += population(spikes)
    return spiked


@njit
def synaptic_layer(
    layer: Any, shortcut: Any, gain: int, last: bool, fresh: bool, events: Any, pointer: Any,
    padded: Any, kept: Any, detour: Any, packed: Any, paired: Any, gains: Any, biases: Any,
    thresholds: Any, silent: Any, currents: Any, old: Any, old_fired: Any, new: Any,
    new_fired: Any, masks: Any, logits: Any,
) -> tuple[int, int, int]:  # fmt: skip
    """Synapses and neurons of one layer; ``gain`` 0 means analog inputs.

    Returns active pairs, spikes and the shortcut's active pairs.
    """
    pairs, spiked, bypassed = 0, 0, 0
    if shortcut.bypass != ABSENT:
        bypassed = enter_shortcut(shortcut, kept, detour)
    start = 0
    while start < layer.out_channels:
        width = BLOCK if gain and start + BLOCK <= layer.out_channels else WORD
        for y in range(layer.out_height):
            if gain:
                row_pairs = sparse_row(layer, y, start, width, events, pointer, packed, currents)
                if start == 0:
                    pairs += row_pairs
                if gain != 1 or layer.shift:
                    rescale(currents, layer.out_width * width, gain, layer.shift)
            else:
                dense_row(layer, y, start, padded, paired, currents)
            if shortcut.bypass != ABSENT:
                row_pairs = shortcut_row(
                    shortcut, y, start, width, kept, detour, packed, gains, currents
                )
                if start == 0:
                    bypassed += row_pairs
            if last:
                for k in range(min(width, logits.size - start)):
                    logits[start + k] = (
                        np.int32(currents[k]) + biases[layer.channels_at + start + k]
                    )
            else:
                spiked += fire_row(
                    layer, y, start, width, fresh, currents, biases, thresholds, silent,
                    old, old_fired, new, new_fired, masks,
                )  # fmt: skip
        start += width
    return pairs, spiked, bypassed


@njit
def enter(
    frame: Any, layer: Any, coverage: Any, events: Any, pointer: Any, padded: Any
) -> tuple[int, int]:
    """Bring a frame to the first layer: its gain, and its active pairs where that is 0."""
    gain = uniform_value(frame) if layer.narrow else 0
    if gain:
        frame_events(frame, layer, events, pointer)
        return gain, 0
    return 0, pad_values(frame, layer, coverage, padded)


@njit
def pass_on(
    layer: Any, following: Any, pools: Any, coverage: Any, masks: Any, kept: Any, events: Any,
    pointer: Any, values: Any, padded: Any,
) -> tuple[int, int]:  # fmt: skip
    """Bring one layer's spikes through its pools to the next; returns what ``enter`` does."""
    words = layer.out_channels // WORD
    keep(layer.kept_at, layer.out_height * layer.out_width * words, masks, kept)
    spiking = True
    for k in range(layer.first_pool, layer.last_pool):
        if spiking and pools[k].summed:
            spread(pools[k], words, masks, values)
            spiking = False
        if spiking:
            or_pool(pools[k], words, masks)
            places = pools[k].out_height * pools[k].out_width
            keep(pools[k].kept_at, places * words, masks, kept)
        else:
            value_pool(pools[k], values)
    if spiking:
        mask_events(masks, following, words, events, pointer)
        return 1, 0
    return 0, pad_values(values, following, coverage, padded)


def step_rows(
    counter: Any, frames: Any, before: Any, after: Any, logits: Any, pairs: Any, spikes: Any,
    sizes: Any, layers: Any, shortcuts: Any, pools: Any, packed: Any, paired: Any, gains: Any,
    biases: Any, thresholds: Any, silent: Any, coverage: Any, currents: Any, masks: Any,
    events: Any, pointer: Any, values: Any, padded: Any, kept: Any, detour: Any,
) -> None:  # fmt: skip
    """Step rows until none is left; several threads may share one ``counter``.

    ``before`` and ``after`` hold the address of each row's memory; 0 is a row's first step.
    """
    neurons, words = sizes
    last = len(layers) - 1
    while True:
        row = claim(counter)
        if row >= len(frames):
            return
        fresh = before[row] == 0
        # A first step reads memory like any other and forgets what it read.
        address = after[row] if fresh else before[row]
        old = carray(pointer_to(address), neurons, np.int16)
        old_fired = carray(pointer_to(address + np.uint64(2 * neurons)), words, np.uint64)
        new = carray(pointer_to(after[row]), neurons, np.int16)
        new_fired = carray(pointer_to(after[row] + np.uint64(2 * neurons)), words, np.uint64)
        gain, active = enter(frames[row], layers[0], coverage, events, pointer, padded)
        for index in range(last + 1):
            layer, shortcut = layers[index], shortcuts[index]
            found, spiked, bypassed = synaptic_layer(
                layer, shortcut, gain, index == last, fresh, events, pointer, padded, kept,
                detour, packed, paired, gains, biases, thresholds, silent, currents, old,
                old_fired, new, new_fired, masks, logits[row],
            )  # fmt: skip
            pairs[row, layer.column] = found if gain else active
            if shortcut.bypass != ABSENT:
                pairs[row, shortcut.column] = bypassed
            if index < last:
                spikes[row, index] = spiked
                gain, active = pass_on(
                    layer, layers[index + 1], pools, coverage, masks, kept, events, pointer,
                    values, padded,
                )  # fmt: skip
