"""Neurons of one output row. Compiled by numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from spikeserve.models.engines.kernels.arguments import WORD, Channels, Memory
from spikeserve.models.engines.kernels.pointers import flags_at, membranes_at
from spikeserve.models.engines.kernels.vectors import fire_word, population


@njit
def memory_at(before: Any, after: Any, membranes: int) -> Memory:
    """A row's memory at two addresses; where ``before`` is 0 there is none yet."""
    fresh = before == 0
    # A first step reads memory like any other and forgets what it read.
    address = after if fresh else before
    flags = np.uint64(2 * membranes)
    return Memory(
        fresh,
        membranes_at(address),
        flags_at(address + flags),
        membranes_at(after),
        flags_at(after + flags),
    )


@njit
def fire_row(
    neurons: Any, y: int, lane: int, width: int, bias_at: int, currents: Any, channels: Channels,
    memory: Memory, masks: Any,
) -> int:  # fmt: skip
    """One timestep of ``width`` lanes from ``lane`` on; returns how many spiked."""
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
            spikes = fire_word(
                currents, x * width + k * WORD, channels.biases, bias_at + start,
                channels.thresholds, channels.reset_by, channel,
                channels.initial if fresh else old, channel if fresh else neuron, new, neuron,
                neurons.leak_multiplier, neurons.leak_whole, neurons.soft,
                channels.never_fires[channel // WORD] | (fired & neurons.once),
            )  # fmt: skip
            new_fired[fired_at] = fired | spikes
            masks[word] = spikes
            spiked += population(spikes)
    return spiked
