"""One timestep of a whole network for one row after another: what a thread runs without the GIL.

    frame -> events -> sums of weight rows -> neurons -> spike masks -> pools -> events -> ...

An *event* is a non-zero input, stored as its place in its input row. Events lie in reading
order, so those of a window's row are one contiguous run between two pointers, for any stride,
kernel and border. Adding the weight rows they address is the whole of a spiking convolution,
and the lengths of the runs are its active pairs. ``docs/ENGINES.md`` has an example by hand;
:mod:`spikeserve.models.engines.kernels.arguments` says what the arguments hold.

A layer reads spikes as ``masks`` where ``spiking``, else ``values``. ``gain`` is what a spike
stands for: 1, or a pixel's value; 0 says that the values are analog.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from spikeserve.models.engines.kernels.arguments import (
    ABSENT,
    BLOCK,
    WORD,
    Memory,
    Rows,
    Scratch,
    Tables,
)
from spikeserve.models.engines.kernels.events import (
    mask_events,
    mask_pairs,
    pad_values,
    uniform_value,
    value_events,
    value_pairs,
)
from spikeserve.models.engines.kernels.neurons import fire_row, memory_at
from spikeserve.models.engines.kernels.pools import or_pool, spread, value_pool
from spikeserve.models.engines.kernels.sums import (
    add_depthwise_row,
    analog_row,
    event_row,
    rescale,
)
from spikeserve.models.engines.kernels.vectors import claim


@njit
def enter(frame: Any, layer: Any, values: Any) -> int:
    """Bring a frame to the first layer; returns its gain."""
    for k in range(frame.size):
        values[k] = frame[k]
    return uniform_value(frame) if layer.fits_int16 else 0


@njit
def enter_part(
    layer: Any, part: Any, spiking: bool, gain: int, tables: Tables, scratch: Scratch, masks: Any
) -> None:
    """Bring a layer's inputs to one of its parts."""
    if spiking:
        mask_events(masks, layer, part, tables.read_masks, scratch.events)
    elif gain:
        value_events(scratch.values, layer, part, scratch.events)
    else:
        pad_values(scratch.values, layer, part, scratch.padded)


@njit
def enter_shortcut(shortcut: Any, tables: Tables, scratch: Scratch) -> int:
    """Bring saved spikes to a shortcut; returns the active pairs of one without matrix."""
    if shortcut.depthwise_at != ABSENT:
        return mask_pairs(scratch.saved_masks, shortcut.source_at, shortcut, tables.coverage)
    part = tables.parts[shortcut.first_part]
    masks = scratch.saved_masks[shortcut.source_at :]
    mask_events(masks, shortcut, part, tables.read_masks, scratch.shortcut_events)
    return 0


@njit
def add_shortcut_row(
    shortcut: Any, y: int, lane: int, width: int, tables: Tables, scratch: Scratch
) -> int:
    """Add what a shortcut brings to one output row; returns a projection's active pairs."""
    currents, weights = scratch.currents, tables.weights
    if shortcut.depthwise_at != ABSENT:
        add_depthwise_row(
            shortcut, y, lane, width, scratch.saved_masks, shortcut.source_at, weights.depthwise,
            currents,
        )  # fmt: skip
        return 0
    part, added = tables.parts[shortcut.first_part], scratch.shortcut_currents
    pairs = event_row(shortcut, part, y, lane, width, scratch.shortcut_events, weights.event, added)
    for k in range(shortcut.out_width * width):
        currents[k] += added[k]
    return pairs


@njit
def sum_row(
    layer: Any, part: Any, y: int, lane: int, width: int, gain: int, tables: Tables,
    scratch: Scratch, masks: Any,
) -> int:  # fmt: skip
    """Currents of one output row; returns the active pairs of spikes, if it counted them."""
    currents, weights = scratch.currents, tables.weights
    pairs = 0
    if gain == 0:
        analog_row(layer, part, y, lane, scratch.padded, weights.analog, currents)
        return 0
    if layer.depthwise_at != ABSENT:
        currents[: layer.out_width * width] = 0
        add_depthwise_row(layer, y, lane, width, masks, 0, weights.depthwise, currents)
    else:
        pairs = event_row(layer, part, y, lane, width, scratch.events, weights.event, currents)
    if gain != 1 or layer.shift:
        rescale(currents, layer.out_width * width, gain, layer.shift)
    return pairs


@njit
def read_out(currents: Any, biases: Any, at: int, lane: int, width: int, logits: Any) -> None:
    """The classifier's currents are the logits."""
    for k in range(lane, min(lane + width, logits.size)):
        logits[k] = int(currents[k - lane]) + biases[at + k]


@njit
def synaptic_layer(
    index: int, spiking: bool, gain: int, tables: Tables, scratch: Scratch, memory: Memory,
    masks: Any, fired: Any, logits: Any,
) -> tuple[int, int, int]:  # fmt: skip
    """A layer's synapses and its neurons, whose spikes go to ``fired``, or the classifier.

    Returns active pairs, spikes, and the active pairs of a shortcut.
    """
    layer, shortcut, neurons = tables.layers[index], tables.shortcuts[index], tables.neurons[index]
    last = index == len(tables.layers) - 1
    counts = gain != 0 and layer.whole  # the lengths of runs are active pairs
    pairs, spiked, shortcut_pairs = 0, 0, 0
    if not counts:
        pairs = (
            mask_pairs(masks, 0, layer, tables.coverage)
            if spiking
            else value_pairs(scratch.values, layer, tables.coverage)
        )
    if shortcut.column != ABSENT:
        shortcut_pairs = enter_shortcut(shortcut, tables, scratch)
    for number in range(layer.first_part, layer.last_part):
        part = tables.parts[number]
        if layer.depthwise_at == ABSENT:
            enter_part(layer, part, spiking, gain, tables, scratch, masks)
        start = 0
        while start < part.lanes:
            width = BLOCK if gain and start + BLOCK <= part.lanes else WORD
            lane = part.first_lane + start
            for y in range(layer.out_height):
                found = sum_row(layer, part, y, start, width, gain, tables, scratch, masks)
                if counts and lane == 0:
                    pairs += found
                if shortcut.column != ABSENT:
                    found = add_shortcut_row(shortcut, y, lane, width, tables, scratch)
                    if lane == 0:
                        shortcut_pairs += found
                if last:
                    read_out(
                        scratch.currents, tables.channels.biases, neurons.lanes_at, lane, width,
                        logits,
                    )  # fmt: skip
                else:
                    spiked += fire_row(
                        neurons, y, lane, width, scratch.currents, tables.channels, memory, fired
                    )
            start += width
    return pairs, spiked, shortcut_pairs


@njit
def save(at: int, pixels: int, channels: int, masks: Any, saved_masks: Any) -> None:
    """Set spikes aside for a shortcut, if one reads them."""
    if at != ABSENT:
        count = pixels * ((channels + WORD - 1) // WORD)
        saved_masks[at : at + count] = masks[:count]


@njit
def pass_on(
    neurons: Any, tables: Tables, scratch: Scratch, masks: Any, spare: Any
) -> tuple[Any, Any, bool]:
    """Bring spikes through the pools behind their neurons.

    Returns the two mask buffers, the pooled one first, and whether what is pooled are spikes.
    """
    save(
        neurons.saved_at, neurons.height * neurons.width, neurons.lanes, masks, scratch.saved_masks
    )
    spiking = True
    for number in range(neurons.first_pool, neurons.last_pool):
        pool = tables.pools[number]
        pixels = pool.out_height * pool.out_width
        if spiking and pool.summed:
            spread(pool, masks, scratch.values)
            spiking = False
        if spiking:
            or_pool(pool, masks, spare)
            masks, spare = spare, masks
            save(pool.saved_at, pixels, pool.channels, masks, scratch.saved_masks)
        else:
            value_pool(pool, scratch.values, scratch.spare_values)
            count = pixels * pool.channels
            scratch.values[:count] = scratch.spare_values[:count]
    return masks, spare, spiking


def step_rows(rows: Rows, tables: Tables, scratch: Scratch) -> None:
    """Step rows until none is left; several threads may share one ``rows.counter``."""
    last = len(tables.layers) - 1
    readout = tables.neurons[last]
    while True:
        row = claim(rows.counter)
        if row >= len(rows.frames):
            return
        memory = memory_at(rows.before[row], rows.after[row], readout.membranes_at)
        masks, spare = scratch.masks, scratch.spare_masks
        gain = enter(rows.frames[row], tables.layers[0], scratch.values)
        spiking = False
        for index in range(last + 1):
            pairs, spiked, shortcut_pairs = synaptic_layer(
                index, spiking, gain, tables, scratch, memory, masks, spare, rows.logits[row]
            )
            rows.active_pairs[row, tables.layers[index].column] = pairs
            if tables.shortcuts[index].column != ABSENT:
                rows.active_pairs[row, tables.shortcuts[index].column] = shortcut_pairs
            if index < last:
                rows.spikes[row, index] = spiked
                masks, spare, spiking = pass_on(
                    tables.neurons[index], tables, scratch, spare, masks
                )
                gain = 1 if spiking else 0
