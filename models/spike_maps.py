"""What a network was shown and where it fired, timestep by timestep.

Engines count spikes; they do not say where. The reference does, and its bits are everybody's, so
an image's maps come from a second run, on it, beside the engine that answers: slower, and only for
whoever wants to look.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeserve.models.encoding import Encoding, Pixels
from spikeserve.models.engines.reference import (
    MOST_GATHERED,
    Ints,
    NumpyOperations,
    ReferenceEngine,
)
from spikeserve.models.inference import Counts
from spikeserve.models.layers import Layer, Lif, Synaptic
from spikeserve.models.network import Network
from spikeserve.models.program import Program

MAX_SIDE = 32
"""Most cells of a drawn map, down and across."""
STATE_BYTES = 5
"""Of a neuron between timesteps: its potential, and whether it has fired."""
GATHERED_BYTES = 16
"""Of an input of a window in the reference: as it is, by groups, as a float."""
WEIGHT_BYTES = 16
"""Of a weight: a float, and a copy where numpy's product wants another order."""
PLACE_BYTES = 40
"""Of what a layer puts out, while it does: sums as floats, shifted and clipped, or what a leak and
a reset go through."""
NUMBER_BYTES = 4
FULL = 255


class _KeepingOperations(NumpyOperations):
    """Numpy's, that keep the spikes which they count."""

    def __init__(self) -> None:
        self.kept: list[Ints] = []

    def counted(self, spikes: Ints) -> NDArray[np.int64]:
        self.kept.append(spikes[0])
        return super().counted(spikes)


@dataclass(frozen=True)
class Shown:
    """One timestep of one image."""

    frame: Pixels
    """``[H, W, C]``, what entered the network."""
    spikes: tuple[Ints, ...]
    """How often each neuron fired: a LIF layer each, ``[H, W, C]``."""


class SpikeMaps:
    """One image ``[H, W, C]`` on its way through the reference."""

    def __init__(self, program: Program, encoding: Encoding, image: Pixels) -> None:
        self._operations = _KeepingOperations()
        self._engine = ReferenceEngine(program, self._operations)
        self._encoding = encoding
        self._image = image[None]
        self._state = self._engine.start(1)
        self._t = 0

    def step(self) -> Shown:
        """The next timestep.

        Raises:
            ValueError: there is none.
        """
        frame = self._encoding.frame(self._image, self._t + 1)
        self._operations.kept = []
        self._state = self._engine.step(frame, self._state).state
        self._t += 1
        return Shown(frame[0], tuple(self._operations.kept))


def state_memory(network: Network) -> int:
    """Bytes that an image keeps from one timestep to the next."""
    return network.neurons * STATE_BYTES + math.prod(network.input_shape)


def step_memory(network: Network) -> int:
    """Bytes that a timestep of one image takes at most, above those that it began with.

    Layers' outputs stay until its end, with the new state and the spikes.
    """
    outputs = sum(math.prod(layer.out_shape) for layer in network.layers)
    kept = (math.prod(network.input_shape) + outputs) * NUMBER_BYTES
    return kept + network.neurons * (STATE_BYTES + 1) + max(map(_passing, network.layers))


def _passing(layer: Layer) -> int:
    """Bytes that are needed while a layer computes, and not afterwards."""
    taken = math.prod(layer.out_shape) * PLACE_BYTES
    if isinstance(layer, Lif):
        return taken
    height, width = (
        extent + 2 * padding
        for extent, padding in zip(layer.in_shape, layer.window.padding, strict=False)
    )
    taken += 2 * height * width * layer.in_shape[2] * NUMBER_BYTES
    if isinstance(layer, Synaptic):
        row = layer.out_shape[1] * layer.window.area * layer.in_shape[2]
        seen = min(row * layer.out_shape[0], max(row, MOST_GATHERED))
        taken += seen * GATHERED_BYTES + math.prod(layer.weight_shape) * WEIGHT_BYTES
    return taken


def drawn(spikes: NDArray[Any]) -> Pixels:
    """A layer's spikes ``[H, W, C]`` as a map ``[h, w]`` of at most 32×32 cells.

    A cell is the share of its neurons that fired, 255 for all of them, rounded up so that one spike
    shows. Neighbouring places share a cell where a side is longer than 32. A layer without places
    (1×1) is laid out by its channels, row after row, in a grid as square as can be.
    """
    fired, neurons = (spikes != 0).astype(np.int64), np.ones(spikes.shape, np.int64)
    if spikes.shape[:2] == (1, 1):
        fired, neurons = _folded(fired.ravel()), _folded(neurons.ravel())
    most = np.maximum(_cells(neurons), 1)  # the last row of a grid may end before its last cell
    shares: Pixels = (-(-_cells(fired) * FULL // most)).astype(np.uint8)
    return shares


def thinned(frame: Pixels, side: int = 2 * MAX_SIDE) -> Pixels:
    """Every k-th row and column of a frame ``[H, W, C]``, so that none is longer than ``side``."""
    step = -(-max(frame.shape[:2]) // side)
    return frame[::step, ::step]


def _folded(line: Counts) -> Counts:
    """Numbers in a line as a grid ``[h, w, 1]``, with zeros behind the last one."""
    width = math.isqrt(len(line) - 1) + 1
    grid = np.zeros((-(-len(line) // width) * width, 1), np.int64)
    grid[: len(line), 0] = line
    return grid.reshape(-1, width, 1)


def _cells(numbers: Counts) -> Counts:
    """Sums of ``[H, W, C]`` over channels and neighbouring places, in at most 32×32 cells."""
    sums: Counts = numbers.sum(axis=2)
    share = -(-max(sums.shape) // MAX_SIDE)  # as many down as across, so that shapes stay
    for axis, length in enumerate(sums.shape):
        sums = np.add.reduceat(sums, np.arange(0, length, share), axis=axis)
    return sums
