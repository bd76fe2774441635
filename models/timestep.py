"""One timestep of a program, layer by layer, in the array operations that an engine brings.

    I[t] = clip(clip(W * s[t] >> shift) + b)
    then neurons (:mod:`spikeserve.models.layers.lif`)

The first layer's gain, bias and padding may depend on the timestep (``Program.drive``). The
reference, the torch engine and the exported ONNX graph are this function with numpy arrays,
tensors and graph nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, assert_never

from numpy.typing import NDArray

from spikeserve.models.layers import Layer, Lif, Pool, Synaptic
from spikeserve.models.layers.lif import MEMBRANE_MAX, MEMBRANE_MIN, Memory, Numbers
from spikeserve.models.layers.operations import Operations, Value
from spikeserve.models.program import Program


class CountingOperations(Operations, Protocol):
    """What an engine needs besides: numbers of a timestep, and how much was active."""

    def scheduled(self, numbers: NDArray[Any], done: Value) -> Value:
        """Row ``min(t, S - 1)`` of ``numbers [S, C]`` for every row that has done t timesteps, to
        be combined with a map."""
        ...

    def active_pairs(self, layer: Synaptic, x: Value, counts: bool) -> Value:
        """(Non-zero input, output position) pairs of every row; where inputs are ``counts`` of
        spikes, a pair for each spike."""
        ...

    def counted(self, spikes: Value) -> Value:
        """Spikes of every row, from how often each neuron spikes."""
        ...


@dataclass
class Timestep:
    """What one timestep gave."""

    logits: Value
    """``[N, 1, 1, K]``, in the engine's axis order."""
    active_pairs: list[Value] = field(default_factory=list)
    """A synaptic layer each."""
    spikes: list[Value] = field(default_factory=list)
    """A LIF layer each."""
    memories: list[Memory] = field(default_factory=list)
    """A LIF layer each."""


def timestep(
    program: Program,
    operations: CountingOperations,
    x: Value,
    memories: Sequence[Memory],
    done: Value = None,
) -> Timestep:
    """Run inputs ``x`` through all layers once; ``memories`` are left as they were.

    Args:
        done: how many timesteps each row has done, ``[N]``; needed where there is a drive.
    """
    weights = iter(zip(program.weights, program.saturates, program.counts, strict=True))
    neurons, before = iter(program.neurons), iter(memories)
    first, classifier = program.network.layers[0], program.network.layers[-1]
    result = Timestep(x)
    bias: Value = 0  # of layers whose currents have yet to meet neurons
    clips = False

    def clipped(current: Value) -> Value:
        return operations.clipped(current, MEMBRANE_MIN, MEMBRANE_MAX) if clips else current

    def through(layer: Layer, x: Value, read: Value) -> Value:
        nonlocal bias, clips
        match layer:
            case Synaptic():
                numbers, clips, counts = next(weights)
                result.active_pairs.append(operations.active_pairs(layer, read, counts))
                own = operations.channels(numbers.bias)
                bias = bias + own if layer.joins else own
                if layer is first and program.drive is not None:
                    sums = driven_sums(program, operations, read, done)
                    bias = bias + operations.scheduled(program.drive.bias, done)
                else:
                    sums = layer.sums(operations, read, numbers.weight)
                if layer.shift:
                    sums = operations.floor_scaled(sums, 1, layer.shift)
                current = clipped(x + clipped(sums)) if layer.joins else clipped(sums)
                return clipped(current + bias) if layer is classifier else current
            case Lif():
                mine = next(neurons)
                in_form = Numbers(
                    operations.channels(mine.threshold),
                    operations.channels(mine.reset_by),
                    operations.channels(mine.minimum) if mine.is_held else None,
                )
                current = clipped(x + bias)
                spikes, memory = layer.step(operations, next(before), current, in_form)
                result.spikes.append(operations.counted(spikes))
                result.memories.append(memory)
                return spikes
            case Pool():
                return layer.pooled(operations, x)
            case _:
                assert_never(layer)

    result.logits = program.network.carry(x, through)
    return result


def driven_sums(program: Program, operations: CountingOperations, x: Value, done: Value) -> Value:
    """``gain * (W * x)`` with x inside its padding.

    That is ``x - padding`` inside zeros, and what a window full of padding adds up to.
    """
    layer, drive = program.network.synaptic[0], program.drive
    assert drive is not None
    if drive.padding.any():
        x = x - operations.scheduled(drive.padding, done)
    sums = layer.sums(operations, x, program.weights[0].weight)
    if drive.padding.any():
        sums = sums + operations.scheduled(program.padding_sums, done)
    return sums * operations.scheduled(drive.gains, done)
