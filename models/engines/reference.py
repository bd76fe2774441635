"""The definition: the integer program in plain numpy, written to be read.

Slow. Every other engine must give the same bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikeserve.models.engines.contract import State, Step
from spikeserve.models.network import Conv, Lif, Linear, Network, Pool, Shortcut, Synaptic, coverage
from spikeserve.models.neurons import Ints, lif_step
from spikeserve.models.program import Program, Synapses


def patches(layer: Conv | Linear, x: Ints) -> Ints:
    """Input windows ``[N, h_out, w_out, k * k * c_in]`` of ``x [N, H, W, C]``, zero padded."""
    if isinstance(layer, Linear):
        return x.reshape(len(x), 1, 1, -1)
    margin = (layer.padding, layer.padding)
    padded = np.pad(x, ((0, 0), margin, margin, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(
        padded, (layer.kernel, layer.kernel), axis=(1, 2)
    )[:, :: layer.stride, :: layer.stride]  # [N, h_out, w_out, C, k, k]
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(*windows.shape[:3], -1)


def shortcut_current(layer: Shortcut, synapses: Synapses, x: Ints) -> Ints:
    """What spikes ``x [N, H, W, C]`` add to currents, int32 ``[N, h_out, w_out, c_out]``."""
    summed = pooled(Pool(layer.name, layer.in_shape, layer.pool, "sum"), x)
    weight = synapses.weight.astype(np.int32)
    added: Ints = (summed @ weight if layer.projects else summed * weight[0]) + synapses.bias
    return added


def synaptic_current(layer: Conv | Linear, synapses: Synapses, x: Ints) -> Ints:
    """``(W * x >> shift) + b``, int32 ``[N, h_out, w_out, c_out]``.

    The product runs in float64, where integers below 2^53 are exact, because numpy
    has no fast integer matrix product.
    """
    sums = patches(layer, x).astype(np.float64) @ synapses.weight.astype(np.float64)
    return (sums.astype(np.int32) >> layer.shift) + synapses.bias


def active_pairs(layer: Synaptic, x: Ints) -> NDArray[np.int64]:
    """(Non-zero input, output position) pairs of every row, ``[N]``."""
    active: NDArray[np.int64] = (x != 0).sum(axis=3, dtype=np.int64)
    pairs: NDArray[np.int64] = (active * coverage(layer)).sum(axis=(1, 2))
    return pairs


def pooled(layer: Pool, x: Ints) -> Ints:
    """Max or sum over non-overlapping windows, ``[N, h_out, w_out, C]``."""
    height, width, channels = layer.out_shape
    k = layer.kernel
    blocks = x[:, : height * k, : width * k].reshape(len(x), height, k, width, k, channels)
    reduce = blocks.max if layer.mode == "max" else blocks.sum
    result: Ints = reduce(axis=(2, 4)).astype(np.int32)
    return result


class ReferenceEngine:
    """The slow twin of every engine."""

    name = "reference"

    def __init__(self, program: Program) -> None:
        self.program = program
        self.network: Network = program.network

    def start(self, rows: int) -> State:
        membranes = [np.zeros((rows, *lif.in_shape), np.int32) for lif in self.network.lifs]
        fired = [np.zeros((rows, *lif.in_shape), np.bool_) for lif in self.network.lifs]
        return State((*membranes, *fired))

    def step(self, frames: NDArray[np.uint8], state: State) -> Step:
        x: Ints = frames.astype(np.int32)
        membranes = list(state.arrays[: len(self.network.lifs)])
        fired = list(state.arrays[len(self.network.lifs) :])
        synapses = iter(self.program.synapses)
        pairs, spikes = [], []
        lif = 0
        outputs: dict[str, Ints] = {}
        for layer in self.network.layers:
            match layer:
                case Conv() | Linear():
                    pairs.append(active_pairs(layer, x))
                    x = synaptic_current(layer, next(synapses), x)
                case Shortcut():
                    source = outputs[layer.source]
                    pairs.append(active_pairs(layer, source))
                    x = x + shortcut_current(layer, next(synapses), source)
                case Lif():
                    spiking, membranes[lif], fired[lif] = lif_step(
                        layer, membranes[lif], fired[lif], x, self.program.thresholds[lif]
                    )
                    spikes.append(spiking.sum(axis=(1, 2, 3), dtype=np.int64))
                    x = spiking.astype(np.int32)
                    lif += 1
                case Pool():
                    x = pooled(layer, x)
            outputs[layer.name] = x
        return Step(
            logits=x.reshape(len(x), -1),
            active_pairs=np.stack(pairs, axis=1),
            spikes=np.stack(spikes, axis=1),
            state=State((*membranes, *fired)),
        )
