"""The float network, timestep by timestep: what the integer program is held against.

    I[t] = W x[t] + b                                     currents of several layers add up
    v    = leak v + (1 - leak) rest + gain I[t]           and what the last step's late reset takes
    s[t], v as :class:`spikeserve.importing.network.Neurons` says

In float64, unless another type is asked for. Images enter at every timestep, so that the first
layer's currents are computed once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from spikeserve.importing.data.inputs import Inputs
from spikeserve.importing.network import FloatNetwork, Neurons, Synapse
from spikeserve.models.engines.reference import windows_of
from spikeserve.models.layers import Pool, Window

Array = NDArray[Any]
BATCH_BYTES = 96 << 20
"""What the largest layer's patches of a batch may take."""


class FloatOperations:
    """What synaptic layers and pools are described in, on float maps ``[N, H, W, C]``."""

    def convolved(self, x: Array, weight: Array, window: Window, groups: int) -> Array:
        windows = windows_of(x, window)
        rows, height, width = windows.shape[:3]
        if groups == 1:
            sums = windows.reshape(rows * height * width, -1) @ weight
        else:
            shares = windows.reshape(rows * height * width, window.area, groups, -1)
            patches = shares.transpose(2, 0, 1, 3).reshape(groups, len(shares), -1)
            matrices = weight.reshape(len(weight), groups, -1).transpose(1, 0, 2)
            sums = (patches @ matrices).transpose(1, 0, 2)
        return sums.reshape(rows, height, width, -1)

    def max_pooled(self, x: Array, window: Window) -> Array:
        pooled: Array = windows_of(x, window).max(axis=(3, 4))
        return pooled

    def sum_pooled(self, x: Array, window: Window, channels: int) -> Array:  # noqa: ARG002
        summed: Array = windows_of(x, window).sum(axis=(3, 4))
        return summed

    def channels(self, numbers: Array) -> Array:
        return numbers


OPERATIONS = FloatOperations()


@dataclass
class Potentials:
    """What neurons keep: potentials, and the spikes whose reset is still to come."""

    v: Array
    late: Array | None = None


def stepped(neurons: Neurons, before: Potentials, current: Array) -> tuple[Array, Potentials]:
    """One timestep of one layer: what it puts out ``[N, H, W, C]``, and its potentials after."""
    leak, gain, rest, threshold = (
        values.astype(current.dtype, copy=False)
        for values in (neurons.leak, neurons.gain, neurons.rest, neurons.threshold)
    )
    v = leak * before.v + gain * current
    if neurons.rest.any():
        v += (1 - leak) * rest
    if not neurons.spiking:
        return v, Potentials(v)
    if before.late is not None:
        v -= before.late * threshold
    if neurons.max_spikes > 1:
        spikes = np.clip(np.floor(np.maximum(v, 0) / threshold), 0, neurons.max_spikes)
    else:
        spikes = (v > threshold if neurons.strict else v >= threshold).astype(v.dtype)
    if neurons.reset == "hard":
        after = np.where(spikes > 0, neurons.reset_to.astype(v.dtype), v)
    elif neurons.reset == "subtract" and not neurons.delayed:
        after = v - spikes * threshold
    else:
        after = v
    if neurons.minimum is not None:
        after = np.maximum(after, neurons.minimum.astype(v.dtype))
    return spikes, Potentials(after, spikes if neurons.delayed else None)


@dataclass(frozen=True)
class Step:
    """What one timestep gave."""

    outputs: Array
    """``[N, K]``, in the frameworks' order: channel, row, column."""
    spikes: Array
    """``[N, L]``, of the layers that spike."""
    most: tuple[float, ...]
    """The most spikes of a neuron in this step, of the layers that spike."""


@dataclass(frozen=True)
class Answer:
    """What a float network put out for N inputs."""

    outputs: NDArray[np.float64]
    """``[T, N, K]``: spikes, logits, or the last neurons' potentials."""
    spikes: NDArray[np.int64]
    """``[T, N, L]``, of the layers that spike."""
    most: NDArray[np.int64]
    """``[L]``: the most spikes of a neuron in a step."""


def interpreted(
    network: FloatNetwork, inputs: Inputs, timesteps: int, dtype: DTypeLike = np.float64
) -> Answer:
    """All ``timesteps`` of all inputs, in batches that fit memory."""
    size = batch_size(network)
    parts: list[list[Step]] = [
        list(steps(network, inputs[start : start + size], timesteps, dtype))
        for start in range(0, len(inputs), size)
    ]
    return Answer(
        np.concatenate([np.stack([s.outputs for s in part]) for part in parts], axis=1).astype(
            np.float64
        ),
        np.concatenate([np.stack([s.spikes for s in part]) for part in parts], axis=1).astype(
            np.int64
        ),
        np.max([step.most for part in parts for step in part], axis=0).astype(np.int64),
    )


def steps(
    network: FloatNetwork,
    inputs: Inputs,
    timesteps: int,
    dtype: DTypeLike = np.float64,
    first: Array | None = None,
) -> Iterator[Step]:
    """The timesteps of a few inputs, one at a time.

    Args:
        first: the first layer's currents, where they are known and the same at every step.
    """
    rows = len(inputs)
    potentials = {
        layer.name: Potentials(
            np.broadcast_to(layer.start.astype(dtype), (rows, *layer.shape)).copy()
        )
        for layer in network.layers
        if isinstance(layer, Neurons)
    }
    opening = network.layers[0]
    assert isinstance(opening, Synapse)
    if first is None and inputs.constant:
        first = currents(opening, inputs.frame(1, dtype))
    for t in range(1, timesteps + 1):
        known = currents(opening, inputs.frame(t, dtype)) if first is None else first
        yield _step(network, known, potentials)


def currents(synapse: Synapse, x: Array) -> Array:
    """``W x + b``."""
    layer, weight = synapse.layer, synapse.weight.astype(x.dtype, copy=False)
    sums: Array = layer.sums(OPERATIONS, x, weight)
    sums += synapse.bias.astype(x.dtype, copy=False)
    return sums


def _step(network: FloatNetwork, first: Array, potentials: dict[str, Potentials]) -> Step:
    outputs: dict[str, Array] = {}
    x, counted, most = first, [], []
    for index, layer in enumerate(network.layers):
        match layer:
            case Synapse():
                source = layer.layer.input_name
                if source is not None:
                    x = x + currents(layer, outputs[source])
                elif index:
                    x = currents(layer, x)
                outputs[layer.layer.name] = x
            case Pool():
                x = layer.pooled(OPERATIONS, x)
                outputs[layer.name] = x
            case Neurons():
                x, potentials[layer.name] = stepped(layer, potentials[layer.name], x)
                outputs[layer.name] = x
                if layer.spiking:
                    counted.append(x.sum(axis=(1, 2, 3)))
                    most.append(float(x.max(initial=0)))
            case _:
                raise TypeError(f"{layer.name}: neurons whose meaning is not known")
    flat = x.transpose(0, 3, 1, 2).reshape(len(x), -1)
    return Step(flat, np.stack(counted, axis=1), tuple(most))


def batch_size(network: FloatNetwork) -> int:
    """How many inputs at a time keep the largest layer's patches within ``BATCH_BYTES``."""
    largest = max(
        layer.layer.positions * layer.layer.window.area * layer.layer.in_shape[2]
        for layer in network.layers
        if isinstance(layer, Synapse)
    )
    return max(1, min(256, BATCH_BYTES // (8 * largest)))
