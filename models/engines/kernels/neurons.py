"""Neurons of one output row. Compiled by numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from spikeserve.models.engines.kernels.arguments import WORD, Channels, Maps, Memory
from spikeserve.models.engines.kernels.pointers import flags_at, shorts_at
from spikeserve.models.engines.kernels.vectors import (
    count_word,
    fire_plain_word,
    fire_word,
    population,
)


@njit
def memory_at(before: Any, after: Any, membranes: int) -> Memory:
    """A row's memory at two addresses; where ``before`` is 0 there is none yet."""
    fresh = before == 0
    # A first step reads memory like any other and forgets what it read.
    address = after if fresh else before
    flags = np.uint64(2 * membranes)
    return Memory(
        fresh,
        shorts_at(address),
        flags_at(address + flags),
        shorts_at(after),
        flags_at(after + flags),
    )


def _fire_row(fire: Any) -> Any:
    @njit
    def row(
        neurons: Any, y: int, lane: int, width: int, bias_at: int, currents: Any,
        channels: Channels, memory: Memory, masks: Any,
    ) -> int:  # fmt: skip
        """Neurons that spike once a timestep at most: a bit each."""
        fresh, old, old_fired, new, new_fired = memory
        words = neurons.lanes // WORD
        spiked = 0
        for x in range(neurons.width):
            pixel = y * neurons.width + x
            for k in range(width // WORD):
                start = lane + k * WORD
                word = pixel * words + start // WORD
                fired_at = neurons.words_at + word
                fired = np.uint64(0) if fresh else old_fired[fired_at]
                channel = neurons.lanes_at + start
                neuron = neurons.membranes_at + pixel * neurons.lanes + start
                spikes = fire(
                    currents, x * width + k * WORD, channels.biases, bias_at + start,
                    channels.thresholds, channels.reset_by, channels.minima, channel,
                    channels.initial if fresh else old, channel if fresh else neuron, new, neuron,
                    neurons.leak_multiplier, neurons.leak_whole, neurons.leak_nearest,
                    neurons.soft,
                    channels.never_fires[channel // WORD] | (fired & neurons.once),
                )  # fmt: skip
                new_fired[fired_at] = fired | spikes
                masks[word] = spikes
                spiked += population(spikes)
        return spiked

    return row


_fire_row_plain = _fire_row(fire_plain_word)
_fire_row_any = _fire_row(fire_word)


@njit
def count_row(
    neurons: Any, y: int, lane: int, width: int, bias_at: int, currents: Any, channels: Channels,
    memory: Memory, counts: Any, values: Any,
) -> int:  # fmt: skip
    """Neurons that may spike several times: numbers."""
    spiked = 0
    for x in range(neurons.width):
        pixel = y * neurons.width + x
        for start in range(lane, min(lane + width, neurons.channels), WORD):
            channel = neurons.lanes_at + start
            neuron = neurons.membranes_at + pixel * neurons.lanes + start
            count_word(
                currents, x * width + start - lane, channels.biases, bias_at + start,
                channels.thresholds, channels.reset_by, channels.minima, channel,
                channels.initial if memory.fresh else memory.old,
                channel if memory.fresh else neuron, memory.new, neuron,
                neurons.leak_multiplier, neurons.leak_whole, neurons.leak_nearest,
                neurons.max_spikes, channels.never_fires[channel // WORD], counts,
            )  # fmt: skip
            at = pixel * neurons.channels + start
            for c in range(min(WORD, neurons.channels - start)):
                values[at + c] = counts[c]
                spiked += counts[c]
    return spiked


@njit(inline="always")
def neuron_row(
    neurons: Any, y: int, lane: int, width: int, bias_at: int, currents: Any, channels: Channels,
    memory: Memory, counts: Any, made: Maps,
) -> int:  # fmt: skip
    """One timestep of ``width`` lanes from ``lane`` on; returns how often they spiked.

    Args:
        counts: working memory for a mask word's neurons.
        made: where spikes go, as masks or, where there may be several, as values.
    """
    if neurons.max_spikes > 1:
        return count_row(
            neurons, y, lane, width, bias_at, currents, channels, memory, counts, made.values
        )
    if neurons.plain:
        return _fire_row_plain(
            neurons, y, lane, width, bias_at, currents, channels, memory, made.masks
        )
    return _fire_row_any(neurons, y, lane, width, bias_at, currents, channels, memory, made.masks)
