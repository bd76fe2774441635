"""A program laid out for the kernels: flat arrays, padded channels, one record a layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeserve.models.engines.kernels.events import BURST
from spikeserve.models.engines.kernels.network import ABSENT, BLOCK
from spikeserve.models.engines.kernels.packing import aligned, packed, padded, paired
from spikeserve.models.engines.kernels.records import (
    LAYER,
    POOL,
    keep_sources,
    of_kind,
    pool_record,
    pools_after,
    set_neurons,
    set_shortcut,
    synaptic_record,
)
from spikeserve.models.engines.kernels.vectors import WORD
from spikeserve.models.errors import EngineUnavailable
from spikeserve.models.layers import Pool, Shortcut
from spikeserve.models.layers.lif import MEMBRANE_MAX as INT16_MAX
from spikeserve.models.network import MAX_NEURONS, MAX_WEIGHTS, Network, input_maximum
from spikeserve.models.program import Program


@dataclass(frozen=True)
class Layout:
    """Everything the kernels read, in the order they take it, and the sizes they need."""

    layers: NDArray[Any]
    shortcuts: NDArray[Any]
    pools: NDArray[Any]
    packed: NDArray[np.int8]
    paired: NDArray[np.int16]
    gains: NDArray[np.int16]
    biases: NDArray[np.int16]
    thresholds: NDArray[np.int16]
    silent: NDArray[np.uint64]
    coverage: NDArray[np.int64]

    @cached_property
    def tables(self) -> tuple[NDArray[Any], ...]:
        return (
            self.layers, self.shortcuts, self.pools, self.packed, self.paired, self.gains,
            self.biases, self.thresholds, self.silent, self.coverage,
        )  # fmt: skip

    @cached_property
    def inputs(self) -> int:
        """Values of a frame."""
        return math.prod(int(self.layers[name][0]) for name in ("height", "width", "channels"))

    @cached_property
    def neurons(self) -> int:
        """Membranes of a row, padding included."""
        return int((self._positions * self.layers["out_channels"])[:-1].sum())

    @cached_property
    def words(self) -> int:
        """Words of fired flags of a row."""
        return self.neurons // WORD

    @property
    def _positions(self) -> NDArray[np.int64]:
        positions: NDArray[np.int64] = self.layers["out_height"] * self.layers["out_width"]
        return positions

    def scratch(self) -> tuple[Any, ...]:
        """Working memory for one thread."""
        layers, shortcuts = self.layers, self.shortcuts
        sites = layers["height"] * layers["width"]
        detours = shortcuts["height"] * shortcuts["width"]
        pitch = (layers["width"] + 2 * layers["padding"]) * layers["channels"]
        rows = layers["height"] + 2 * layers["padding"]
        analog = layers["analog"]
        values = [pool["height"] * pool["width"] * pool["channels"] for pool in self.pools]
        return (
            np.zeros(int((layers["out_width"] * BLOCK).max()), np.int16),  # currents
            np.zeros(int((self._positions * layers["out_channels"]).max()) // WORD, np.uint64),
            np.zeros(int((sites * layers["channels"]).max()) + BURST, np.int32),  # events
            np.zeros(int(sites.max()) + 1, np.int32),  # pointer
            np.zeros(max([1, *values]), np.int32),  # values
            np.zeros(int((rows * pitch * analog).max()) + 1, np.int16),  # padded
            np.zeros(
                int((shortcuts["kept_at"] + detours * shortcuts["words_in"]).max()), np.uint64
            ),
            (  # a shortcut's events, pointer and sums
                np.zeros(int((detours * shortcuts["channels"]).max()) + BURST, np.int32),
                np.zeros(int(detours.max()) + 1, np.int32),
                np.zeros(int((shortcuts["out_width"] * BLOCK).max()), np.int16),
            ),
        )

    @classmethod
    def of(cls, program: Program) -> Layout:
        """The layout of a program.

        Raises:
            EngineUnavailable: inputs or sums of a layer do not fit the kernels' int16.
        """
        network = program.network
        numbered = enumerate(network.synaptic)
        described = [(k, layer) for k, layer in numbered if not isinstance(layer, Shortcut)]
        layers = np.array([synaptic_record(network, layer) for _, layer in described], LAYER)
        layers["column"] = main = [k for k, _ in described]
        layers["narrow"] = [_largest_sum(program.synapses[k].weight) <= INT16_MAX for k in main]
        _check_range(network, layers)
        channels = [int(count) for count in layers["out_channels"]]
        weights = [
            padded(program.synapses[k].weight, c) for k, c in zip(main, channels, strict=True)
        ]
        biases = [padded(program.synapses[k].bias, c) for k, c in zip(main, channels, strict=True)]
        thresholds = [padded(t, c) for t, c in zip(program.thresholds, channels, strict=False)]
        unused = [
            np.arange(c) >= t.size for t, c in zip(program.thresholds, channels, strict=False)
        ]
        for record, lif in zip(layers, network.lifs, strict=False):
            set_neurons(record, lif)
        layers["channels_at"] = _starts(channels)
        positions = layers["out_height"] * layers["out_width"]
        layers["neurons_at"] = _starts(list(positions * channels))
        layers["words_at"] = layers["neurons_at"] // WORD
        layers["first_pool"], layers["last_pool"] = pools_after(network)
        pools = np.array([pool_record(layer) for layer in of_kind(network, Pool)], POOL)
        places = keep_sources(network, layers, pools)
        shortcuts, matrices, gains = _shortcuts(program, layers, places)
        for index in np.flatnonzero(shortcuts["bypass"] != ABSENT):
            added = program.synapses[shortcuts["column"][index]].bias
            biases[index] = biases[index] + padded(added, channels[index])
        # Beside analog inputs 64 channels are summed at a time.
        blocks = [WORD if record["analog"] else BLOCK for record in layers]
        packs = [
            *(packed(weight) for weight in weights),
            *(packed(matrix, block) for matrix, block in zip(matrices, blocks, strict=True)),
        ]
        starts = _starts([pack.size for pack in packs])
        layers["packed_at"], shortcuts["packed_at"] = np.split(starts, 2)
        pairs = [
            paired(record, weight) if record["analog"] else np.empty(0, np.int16)
            for record, weight in zip(layers, weights, strict=True)
        ]
        layers["paired_at"] = _starts([pair.size for pair in pairs])
        coverages = [layer.coverage.ravel() for _, layer in described]
        layers["coverage_at"] = _starts([seen.size for seen in coverages])
        theta = np.concatenate(thresholds)
        return cls(
            layers,
            shortcuts,
            pools,
            aligned(np.concatenate(packs)),
            aligned(np.concatenate(pairs)),
            gains,
            np.concatenate(biases).astype(np.int16),
            np.minimum(theta, INT16_MAX).astype(np.int16),
            _words((theta > INT16_MAX) | np.concatenate(unused)),
            np.concatenate(coverages),
        )


def _shortcuts(
    program: Program, layers: NDArray[Any], places: dict[str, int]
) -> tuple[NDArray[Any], list[NDArray[np.int8]], NDArray[np.int16]]:
    """For every layer the record of a shortcut onto it, its matrix, and all layers' gains."""
    synaptic = program.network.synaptic
    records = np.zeros(len(layers), LAYER)
    matrices = [np.zeros((0, int(layer["out_channels"])), np.int8) for layer in layers]
    gains = np.zeros(int(layers["out_channels"].sum()), np.int16)
    for index, (layer, record) in enumerate(zip(layers, records, strict=True)):
        column = int(layer["column"]) + 1
        shortcut = synaptic[min(column, len(synaptic) - 1)]
        if not isinstance(shortcut, Shortcut):
            continue
        set_shortcut(record, shortcut, layer)
        record["column"], record["kept_at"] = column, places[shortcut.source]
        weight = padded(program.synapses[column].weight, int(layer["out_channels"]))
        if shortcut.projects:  # one weight for all pixels of a window
            matrices[index] = np.tile(weight.astype(np.int8), (shortcut.pool**2, 1))
        else:
            start = int(layer["channels_at"])
            gains[start : start + weight.shape[1]] = weight[0]
    return records, matrices, gains


def _words(flags: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """64 flags a word, the first one lowest."""
    return np.packbits(flags, bitorder="little").view("<u8").astype(np.uint64)


def _starts(sizes: list[int]) -> NDArray[np.int64]:
    """Where each part begins when parts of these sizes lie end to end."""
    return np.cumsum([0, *sizes[:-1]])


def _largest_sum(weight: NDArray[Any]) -> int:
    """The largest sum of weight magnitudes of a channel."""
    return max(
        int(np.abs(weight[:, k : k + WORD].astype(np.int16)).sum(axis=0, dtype=np.int64).max())
        for k in range(0, weight.shape[1], WORD)
    )


def _check_range(network: Network, layers: NDArray[Any]) -> None:
    """Refuse what does not fit 16 bits, and what padding would blow up, before allocating."""
    for record in layers:
        layer = network.synaptic[record["column"]]
        if input_maximum(network, layer) > INT16_MAX or not (record["narrow"] or record["analog"]):
            raise EngineUnavailable(
                f"inputs or sums of {layer.name!r} exceed the event engine's int16; "
                "the onnx engine can run this bundle"
            )
    neurons = layers["out_height"] * layers["out_width"] * layers["out_channels"]
    weights = int((layers["rows"] * layers["out_channels"]).sum()) + sum(
        way.pool**2 * way.in_shape[2] * (way.out_channels + WORD)
        for way in of_kind(network, Shortcut)
        if way.projects
    )
    if neurons[:-1].sum() > MAX_NEURONS or weights > MAX_WEIGHTS:
        raise EngineUnavailable(
            f"with channels in groups of {WORD} the event engine would need {neurons[:-1].sum()} "
            f"neurons and {weights} weights; the onnx engine can run this bundle"
        )
