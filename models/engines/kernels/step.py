"""One timestep of a whole network for one row after another: what a thread runs without the GIL.

    frame -> events -> sums of weight rows -> neurons -> spike masks -> pools -> events -> ...

An *event* is a non-zero input, stored as its place in its row of the map. Events lie in reading
order, so those of a window's row are one contiguous run between two pointers, for any stride,
kernel and border. Adding the weight rows they address is the whole of a spiking convolution,
and the lengths of the runs are its active pairs. ``docs/ENGINES.md`` has an example by hand;
:mod:`spikeserve.models.engines.kernels.arguments` says what the arguments hold.

A layer reads spikes as ``masks`` or as ``values``, as its ``Reading`` says.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from spikeserve.models.engines.kernels.arguments import (
    ABSENT,
    BLOCK,
    WORD,
    Drive,
    Inputs,
    Kept,
    Maps,
    Memory,
    Reading,
    Rows,
    Scratch,
    Tables,
)
from spikeserve.models.engines.kernels.events import (
    mask_events,
    mask_pairs,
    pad_values,
    repeated_events,
    total,
    uniform_value,
    value_events,
    value_pairs,
)
from spikeserve.models.engines.kernels.memory import CACHE_LINE
from spikeserve.models.engines.kernels.neurons import memory_at, neuron_row
from spikeserve.models.engines.kernels.pointers import bare, longs_at, shorts_at
from spikeserve.models.engines.kernels.pools import or_pool, spread, value_pool
from spikeserve.models.engines.kernels.sums import add_shortcut_row, clipped, sum_row
from spikeserve.models.engines.kernels.vectors import claim


@njit
def enter(frame: Any, done: int, layer: Any, drive: Drive, values: Any) -> Reading:
    """Bring a frame to the first layer, at the timestep after ``done`` others."""
    for k in range(frame.size):
        values[k] = frame[k]
    step = min(done, drive.steps - 1)
    gain = drive.gains[step]
    if drive.padded[step]:
        return Reading(False, 0, gain, step * layer.channels, False)
    if layer.largest_pairs > 1:
        few = gain != 0 and total(layer, values) <= layer.most_spikes
        return Reading(False, gain if few else 0, gain, ABSENT, few)
    return Reading(False, uniform_value(frame) * gain, gain, ABSENT, False)


@njit
def hand_on(layer: Any, spiking: bool, values: Any) -> Reading:
    """How a layer reads what the one before has made."""
    few = False
    if not spiking and layer.most_spikes != ABSENT:
        few = total(layer, values) <= layer.most_spikes
    return Reading(spiking, 1 if spiking or few else 0, 1, ABSENT, few)


@njit
def enter_part(
    layer: Any, part: Any, reading: Reading, tables: Tables, values: Any, inputs: Inputs
) -> int:
    """Bring a layer's inputs to one of its parts; returns the active pairs of analog ones."""
    if layer.depthwise_at != ABSENT:  # reads masks as they are
        return 0
    if reading.spiking:
        mask_events(inputs.masks, layer, part, tables.read_masks, inputs.events)
    elif reading.repeated:
        repeated_events(values, layer, part, inputs.events)
    elif reading.gain:
        value_events(values, layer, part, inputs.events)
    else:
        return pad_values(
            values, layer, part, tables.coverage, tables.drive.paddings, reading.padding_at,
            inputs.padded,
        )  # fmt: skip
    return 0


@njit
def enter_shortcut(shortcut: Any, part: Any, tables: Tables, inputs: Inputs) -> int:
    """Bring saved spikes to a shortcut; returns the active pairs of one without matrix."""
    if shortcut.depthwise_at != ABSENT:
        return mask_pairs(inputs.masks, shortcut, tables.coverage)
    mask_events(inputs.masks, shortcut, part, tables.read_masks, inputs.events)
    return 0


@njit
def covered_pairs(layer: Any, spiking: bool, masks: Any, values: Any, coverage: Any) -> int:
    """Active pairs of inputs that several parts may read, or a depthwise layer without events."""
    if spiking:
        return mask_pairs(masks, layer, coverage)
    return value_pairs(values, layer, coverage)


@njit
def read_out(currents: Any, biases: Any, at: int, lane: int, width: int, logits: Any) -> None:
    """The classifier's currents are the logits."""
    for k in range(lane, min(lane + width, logits.size)):
        logits[k] = clipped(np.int32(currents[k - lane]) + np.int32(biases[at + k]))


@njit
def kept_currents(layer: Any, y: int, lane: int, width: int, kept: Kept) -> Any:
    """Where the currents of one output row are kept, for the lanes of one block."""
    at = (lane * layer.out_height + y * width) * layer.out_width
    return shorts_at(kept.address + np.uint64(CACHE_LINE + 2 * at))


@njit
def keep_pairs(pairs: int, kept: Kept) -> int:
    """The active pairs that belong to kept currents: known, or kept from now on."""
    place = longs_at(kept.address)
    if not kept.known:
        place[0] = pairs
    return int(place[0])


@njit
def synaptic_layer(
    index: int, reading: Reading, done: int, tables: Tables, scratch: Scratch, memory: Memory,
    kept: Kept, read: Maps, made: Maps, logits: Any,
) -> tuple[int, int, int]:  # fmt: skip
    """A layer's weights and its neurons, whose spikes go to ``made``, or the classifier.

    Returns active pairs, spikes, and the active pairs of a shortcut.
    """
    layer, shortcut, neurons = tables.layers[index], tables.shortcuts[index], tables.neurons[index]
    weights, channels, currents = tables.weights, tables.channels, scratch.currents
    inputs = Inputs(read.masks, scratch.events, scratch.padded)
    joined = Inputs(scratch.saved_masks, scratch.shortcut_events, scratch.padded)
    joined_part = tables.parts[shortcut.first_part]
    joins = shortcut.column != ABSENT
    last = index == len(tables.layers) - 1
    bias_at = neurons.bias_at + min(done, neurons.bias_steps - 1) * neurons.lanes
    pairs, spiked, joined_pairs = 0, 0, 0
    if not (layer.whole or kept.known):
        pairs = covered_pairs(layer, reading.spiking, read.masks, read.values, tables.coverage)
    if joins:
        joined_pairs = enter_shortcut(shortcut, joined_part, tables, joined)
    for number in range(layer.first_part, layer.last_part):
        part = tables.parts[number]
        found = 0
        if not kept.known:
            found = enter_part(layer, part, reading, tables, read.values, inputs)
        start = 0
        while start < part.lanes:
            width = BLOCK if reading.gain and start + BLOCK <= part.lanes else WORD
            lane = part.first_lane + start
            for y in range(layer.out_height):
                if kept.address:
                    currents = kept_currents(layer, y, lane, width, kept)
                if not kept.known:
                    found += sum_row(
                        layer, part, y, start, width, reading, inputs, weights, currents
                    )
                if joins:
                    row_pairs = add_shortcut_row(
                        shortcut, joined_part, y, lane, width, joined, weights, currents,
                        scratch.shortcut_currents,
                    )  # fmt: skip
                    joined_pairs += row_pairs if lane == 0 else 0
                if last:
                    read_out(currents, channels.biases, bias_at, lane, width, logits)
                else:
                    spiked += neuron_row(
                        neurons, y, lane, width, bias_at, currents, channels, memory,
                        scratch.counts, made,
                    )  # fmt: skip
            if layer.whole and start == 0:  # every block meets the same active pairs
                pairs = found
            start += width
    return pairs, spiked, joined_pairs


@njit
def save(at: int, pixels: int, channels: int, masks: Any, saved_masks: Any) -> None:
    """Set spikes aside for a shortcut, if one reads them."""
    if at != ABSENT:
        count = pixels * ((channels + WORD - 1) // WORD)
        for k in range(count):
            saved_masks[at + k] = masks[k]


@njit
def pass_on(
    neurons: Any, tables: Tables, saved_masks: Any, made: Maps, spare: Maps
) -> tuple[Maps, Maps, bool]:
    """Bring what neurons made through the pools behind them.

    Returns the two maps, the pooled one first, and whether what is pooled are spikes.
    """
    save(neurons.saved_at, neurons.height * neurons.width, neurons.lanes, made.masks, saved_masks)
    spiking = neurons.max_spikes == 1
    for number in range(neurons.first_pool, neurons.last_pool):
        pool = tables.pools[number]
        if spiking and pool.summed:
            spread(pool, made.masks, made.values)
            spiking = False
        if spiking:
            or_pool(pool, made.masks, spare.masks)
            pixels = pool.out_height * pool.out_width
            save(pool.saved_at, pixels, pool.channels, spare.masks, saved_masks)
        else:
            value_pool(pool, made.values, spare.values)
        made, spare = spare, made
    return made, spare, spiking


def step_rows(rows: Rows, tables: Tables, scratch: Scratch) -> None:
    """Step rows until none is left; several threads may share one ``rows.counter``."""
    tables, scratch = bare(tables), bare(scratch)
    last = len(tables.layers) - 1
    readout = tables.neurons[last]
    while True:
        row = claim(rows.counter)
        if row >= len(rows.frames):
            return
        memory = memory_at(rows.before[row], rows.after[row], readout.membranes_at)
        here = Maps(scratch.masks, scratch.values)
        there = Maps(scratch.spare_masks, scratch.spare_values)
        done, kept = rows.done[row], Kept(rows.kept[row], rows.known[row] != 0)
        reading = enter(rows.frames[row], done, tables.layers[0], tables.drive, here.values)
        for index in range(last + 1):
            pairs, spiked, shortcut_pairs = synaptic_layer(
                index, reading, done, tables, scratch, memory, kept, here, there, rows.logits[row]
            )
            if kept.address:
                pairs = keep_pairs(pairs, kept)
            rows.active_pairs[row, tables.layers[index].column] = pairs
            if tables.shortcuts[index].column != ABSENT:
                rows.active_pairs[row, tables.shortcuts[index].column] = shortcut_pairs
            if index < last:
                rows.spikes[row, index] = spiked
                here, there, spiking = pass_on(
                    tables.neurons[index], tables, scratch.saved_masks, there, here
                )
                reading = hand_on(tables.layers[index + 1], spiking, here.values)
            kept = Kept(np.uint64(0), False)  # of the first layer only
