"""The definition: the integer program in plain numpy, written to be read.

Slow. Every other engine must give the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeserve.models.engines.contract import State, Step, check_frames
from spikeserve.models.layers import Synaptic, Window
from spikeserve.models.layers.lif import Memory
from spikeserve.models.network import Network
from spikeserve.models.program import Program
from spikeserve.models.timestep import timestep

MOST_GATHERED = 1 << 22
"""Inputs of windows that are copied at once: 32 MiB as floats."""

Ints = NDArray[np.int32]
Bools = NDArray[np.bool_]


class NumpyOperations:
    """What layers are described in, on int32 maps ``[N, H, W, C]``."""

    def convolved(self, x: Ints, weight: NDArray[Any], window: Window, groups: int) -> Ints:
        """The product runs in float64, where integers below 2^53 are exact, because numpy
        has no fast integer matrix product."""
        windows = windows_of(x, window)
        matrices = weight.reshape(len(weight), groups, -1).transpose(1, 0, 2).astype(np.float64)
        sums = np.empty((*windows.shape[:3], weight.shape[1]), np.int32)
        for piece in _pieces(windows):
            part = windows[piece]
            shares = part.reshape(-1, window.area, groups, x.shape[3] // groups)
            patches = shares.transpose(2, 0, 1, 3).reshape(groups, len(shares), -1)
            products = patches.astype(np.float64) @ matrices  # [groups, windows, ...]
            sums[piece] = products.transpose(1, 0, 2).reshape(*part.shape[:3], -1)
        return sums

    def max_pooled(self, x: Ints, window: Window) -> Ints:
        pooled: Ints = windows_of(x, window).max(axis=(3, 4))
        return pooled

    def sum_pooled(self, x: Ints, window: Window, channels: int) -> Ints:  # noqa: ARG002
        summed: Ints = windows_of(x, window).sum(axis=(3, 4), dtype=np.int32)
        return summed

    def channels(self, numbers: NDArray[Any]) -> Ints:
        return numbers.astype(np.int32)

    def floor_scaled(self, x: Ints, multiplier: int, bits: int, nearest: bool = False) -> Ints:
        """The arithmetic shift is the floor."""
        half = (1 << bits) >> 1 if nearest else 0
        scaled: Ints = ((x.astype(np.int64) * multiplier + half) >> bits).astype(np.int32)
        return scaled

    def floor_divided(self, x: Ints, divisor: Ints) -> Ints:
        return x // divisor

    def clipped(self, x: Ints, low: int, high: int) -> Ints:
        return np.clip(x, low, high)

    def where(self, condition: Bools, chosen: Ints | int, otherwise: Ints) -> Ints:
        return np.where(condition, chosen, otherwise).astype(np.int32)

    def numbers(self, spikes: Bools) -> Ints:
        return spikes.astype(np.int32)

    def scheduled(self, numbers: NDArray[Any], done: NDArray[np.int64]) -> Ints:
        chosen: Ints = numbers[np.minimum(done, len(numbers) - 1)].astype(np.int32)
        return chosen[:, None, None]

    def active_pairs(self, layer: Synaptic, x: Ints, counts: bool) -> NDArray[np.int64]:
        active: NDArray[np.int64] = (x if counts else x != 0).sum(axis=3, dtype=np.int64)
        pairs: NDArray[np.int64] = (active * layer.coverage).sum(axis=(1, 2))
        return pairs

    def counted(self, spikes: Ints) -> NDArray[np.int64]:
        count: NDArray[np.int64] = spikes.sum(axis=(1, 2, 3), dtype=np.int64)
        return count


def windows_of(x: Ints, window: Window) -> Ints:
    """Zero-padded windows ``[N, h_out, w_out, kernel height, kernel width, C]``."""
    (top, side), (down, across) = window.padding, window.stride
    padded = np.pad(x, ((0, 0), (top, top), (side, side), (0, 0)))
    views = np.lib.stride_tricks.sliding_window_view(padded, window.kernel, axis=(1, 2))
    return views[:, ::down, ::across].transpose(0, 1, 2, 4, 5, 3)


def _pieces(windows: Ints) -> Iterator[tuple[slice, slice]]:
    """All of ``[N, height, ...]`` at once, or a few rows of an image where that would gather more
    than :data:`MOST_GATHERED` inputs."""
    rows, height = windows.shape[:2]
    each = windows[:1, :1].size
    if rows * height * each <= MOST_GATHERED:
        yield slice(None), slice(None)
        return
    together = max(1, MOST_GATHERED // each)
    for row in range(rows):
        for y in range(0, height, together):
            yield slice(row, row + 1), slice(y, y + together)


class ReferenceEngine:
    """The slow twin of every engine."""

    name = "reference"

    def __init__(self, program: Program, operations: NumpyOperations | None = None) -> None:
        self.program = program
        self.network: Network = program.network
        self._operations = operations or NumpyOperations()

    def start(self, rows: int) -> State:
        lifs = self.network.lifs
        membranes = [
            np.broadcast_to(neurons.initial, (rows, *lif.in_shape)).copy()
            for lif, neurons in zip(lifs, self.program.neurons, strict=True)
        ]
        fired = [np.zeros((rows, *lif.in_shape), np.bool_) for lif in lifs]
        return State((*membranes, *fired, np.zeros(rows, np.int64)))

    def step(self, frames: NDArray[np.uint8], state: State) -> Step:
        check_frames(frames, state, self.network)
        lifs = len(self.network.lifs)
        *arrays, done = state.arrays
        memories = list(map(Memory, arrays[:lifs], arrays[lifs:]))
        result = timestep(self.program, self._operations, frames.astype(np.int32), memories, done)
        return Step(
            logits=result.logits.reshape(len(frames), -1),
            active_pairs=np.stack(result.active_pairs, axis=1),
            spikes=np.stack(result.spikes, axis=1),
            state=State(
                (
                    *(memory.v for memory in result.memories),
                    *(memory.fired for memory in result.memories),
                    done + 1,
                )
            ),
        )
