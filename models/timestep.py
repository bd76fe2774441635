"""One timestep of a program, layer by layer, in the array operations that an engine brings.

    I[t] = (W * s[t] >> shift) + b       then neurons (:mod:`spikeserve.models.layers.lif`)

The reference, the torch engine and the exported ONNX graph are this function with numpy arrays,
tensors and graph nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, assert_never

from spikeserve.models.layers import Layer, Lif, Pool, Synaptic
from spikeserve.models.layers.lif import Memory
from spikeserve.models.layers.operations import Operations, Value
from spikeserve.models.program import Program


class CountingOperations(Operations, Protocol):
    """What an engine needs besides: how much was active."""

    def active_pairs(self, layer: Synaptic, x: Value) -> Value:
        """(Non-zero input, output position) pairs of every row."""
        ...

    def counted(self, spikes: Value) -> Value:
        """Spikes of every row."""
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
    program: Program, operations: CountingOperations, x: Value, memories: Sequence[Memory]
) -> Timestep:
    """Run inputs ``x`` through all layers once; ``memories`` are left as they were."""
    all_weights, thresholds = iter(program.weights), iter(program.thresholds)
    before = iter(memories)
    result = Timestep(x)

    def through(layer: Layer, x: Value, read: Value) -> Value:
        match layer:
            case Synaptic():
                weights = next(all_weights)
                result.active_pairs.append(operations.active_pairs(layer, read))
                current = layer.sums(operations, read, weights.weight)
                if layer.shift:
                    current = operations.floor_scaled(current, 1, layer.shift)
                current = current + operations.channels(weights.bias)
                return x + current if layer.joins else current
            case Lif():
                threshold = operations.channels(next(thresholds))
                spikes, memory = layer.step(operations, next(before), x, threshold)
                result.spikes.append(operations.counted(spikes))
                result.memories.append(memory)
                return operations.numbers(spikes)
            case Pool():
                return layer.pooled(operations, x)
            case _:
                assert_never(layer)

    result.logits = program.network.carry(x, through)
    return result
