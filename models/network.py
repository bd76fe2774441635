"""The network as data: frozen layers that know their shapes, and nothing else.

A network is a plain tuple of layers, read top to bottom. Spatial shapes are
``(height, width, channels)``; flattening keeps that order. Synaptic weights are
matrices ``[kernel * kernel * c_in, c_out]``, contiguous over ``c_out``, so that
one input spike addresses one row.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from spikeserve.models.errors import InvalidNetwork

Extent = Annotated[int, Field(ge=1, le=65_536)]
Shape = tuple[Extent, Extent, Extent]

MAX_NEURONS = 1 << 24  # a row's state must stay far below memory, whatever a manifest claims
MAX_WEIGHTS = 1 << 28
MAX_INPUTS = 1 << 24
MAX_PATCHES = 1 << 27  # window elements of one layer, all output positions


@dataclass(frozen=True)
class Conv:
    """A convolution with zero padding. ``shift`` right-shifts its sums (first layer only)."""

    name: str
    in_shape: Shape
    out_channels: Extent
    kernel: Annotated[int, Field(ge=1, le=31)] = 3
    stride: Annotated[int, Field(ge=1, le=31)] = 1
    padding: Annotated[int, Field(ge=0, le=15)] = 1
    shift: Annotated[int, Field(ge=0, le=24)] = 0
    kind: Literal["conv"] = "conv"

    @property
    def out_shape(self) -> Shape:
        height, width, _ = self.in_shape
        return (self._windows(height), self._windows(width), self.out_channels)

    @property
    def weight_shape(self) -> tuple[int, int]:
        return (self.kernel * self.kernel * self.in_shape[2], self.out_channels)

    @property
    def positions(self) -> int:
        """Output positions: how often the weight matrix is applied per timestep."""
        return self.out_shape[0] * self.out_shape[1]

    def _windows(self, extent: int) -> int:
        return (extent + 2 * self.padding - self.kernel) // self.stride + 1


@dataclass(frozen=True)
class Linear:
    """A fully connected layer over the flattened ``(height, width, channels)`` input."""

    name: str
    in_shape: Shape
    out_channels: Extent
    shift: Annotated[int, Field(ge=0, le=24)] = 0
    kind: Literal["linear"] = "linear"

    @property
    def out_shape(self) -> Shape:
        return (1, 1, self.out_channels)

    @property
    def weight_shape(self) -> tuple[int, int]:
        height, width, channels = self.in_shape
        return (height * width * channels, self.out_channels)

    @property
    def positions(self) -> int:
        return 1


@dataclass(frozen=True)
class Shortcut:
    """A residual block's second way: adds spikes of an earlier layer to the currents passing by.

    They are summed over non-overlapping windows of ``pool`` x ``pool`` (an average pool whose
    factor the quantiser folds into the weights) and go through a 1x1 convolution or, where
    ``projects`` is false, one weight a channel.
    """

    name: str
    source: str
    """The layer, neurons or max pools behind them, that puts out the spikes."""
    in_shape: Shape
    """What ``source`` puts out."""
    out_channels: Extent
    pool: Annotated[int, Field(ge=1, le=64)] = 1
    projects: bool = True
    kind: Literal["shortcut"] = "shortcut"

    @property
    def out_shape(self) -> Shape:
        height, width, _ = self.in_shape
        return (height // self.pool, width // self.pool, self.out_channels)

    @property
    def weight_shape(self) -> tuple[int, int]:
        return (self.in_shape[2] if self.projects else 1, self.out_channels)

    @property
    def positions(self) -> int:
        return self.out_shape[0] * self.out_shape[1]

    @property
    def shift(self) -> int:
        return 0


@dataclass(frozen=True)
class Pool:
    """Non-overlapping pooling: ``max`` is an OR over spikes, ``sum`` counts them.

    An average pool is a ``sum`` whose factor 1/kernel² the quantiser folds into the
    layer after it, so that no division is left at run time.
    """

    name: str
    in_shape: Shape
    kernel: Annotated[int, Field(ge=1, le=64)] = 2
    mode: Literal["max", "sum"] = "max"
    kind: Literal["pool"] = "pool"

    @property
    def out_shape(self) -> Shape:
        height, width, channels = self.in_shape
        return (height // self.kernel, width // self.kernel, channels)


@dataclass(frozen=True)
class Lif:
    """Leaky integrate-and-fire neurons; the equations stand in :mod:`spikeserve.models.neurons`."""

    name: str
    in_shape: Shape
    leak_q: Annotated[int, Field(ge=0, le=256)] = 256
    reset: Literal["hard", "soft"] = "hard"
    fire_once: bool = True
    kind: Literal["lif"] = "lif"

    @property
    def out_shape(self) -> Shape:
        return self.in_shape


Synaptic = Conv | Linear | Shortcut
Layer = Annotated[Conv | Linear | Shortcut | Pool | Lif, Field(discriminator="kind")]


@dataclass(frozen=True)
class Network:
    """Layers in order; the last is the classifier, a ``Linear`` without neurons.

    Raises:
        InvalidNetwork: shapes do not chain, or the layers are no spiking classifier.
    """

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not self.layers or not isinstance(self.layers[-1], Linear):
            raise InvalidNetwork("the last layer must be a linear classifier")
        if not isinstance(self.layers[0], Conv | Linear):
            raise InvalidNetwork("the first layer must be a convolution or linear")
        if not self.lifs:
            raise InvalidNetwork("a spiking network needs neurons")
        names = [layer.name for layer in self.layers]
        if len(set(names)) != len(names):
            raise InvalidNetwork("layer names must be unique")
        for layer in self.layers:
            if min(layer.out_shape) < 1:
                raise InvalidNetwork(f"layer {layer.name!r} has an empty output {layer.out_shape}")
        for before, after in pairwise(self.layers):
            passing = after.out_shape if isinstance(after, Shortcut) else after.in_shape
            if before.out_shape != passing:
                raise InvalidNetwork(
                    f"layer {after.name!r} expects {passing}, "
                    f"but {before.name!r} produces {before.out_shape}"
                )
            if isinstance(before, Synaptic) != isinstance(after, Lif | Shortcut) or (
                isinstance(before, Shortcut) and isinstance(after, Shortcut)
            ):
                raise InvalidNetwork(
                    f"{before.name!r} -> {after.name!r}: every synaptic layer but the "
                    "classifier feeds neurons, with one shortcut at most between them, and "
                    "neurons follow a synaptic layer"
                )
        self._check_shortcuts()
        self._check_size()

    def _check_shortcuts(self) -> None:
        sources: dict[str, Shape] = {}  # what has put out spikes so far
        spiking = False
        for layer in self.layers:
            spiking = isinstance(layer, Lif) or (
                spiking and isinstance(layer, Pool) and layer.mode == "max"
            )
            if spiking:
                sources[layer.name] = layer.out_shape
            if isinstance(layer, Shortcut):
                if sources.get(layer.source) != layer.in_shape:
                    raise InvalidNetwork(
                        f"shortcut {layer.name!r}: no earlier layer {layer.source!r} puts out "
                        f"spikes {layer.in_shape}"
                    )
                if not layer.projects and layer.out_shape != layer.in_shape:
                    raise InvalidNetwork(
                        f"shortcut {layer.name!r} changes the shape, so it must project"
                    )

    def _check_size(self) -> None:
        """Refuse what would not fit in memory, before anything is allocated."""
        if sum(int(np.prod(lif.in_shape)) for lif in self.lifs) > MAX_NEURONS:
            raise InvalidNetwork(f"more than {MAX_NEURONS} neurons")
        if int(np.prod(self.input_shape)) > MAX_INPUTS:
            raise InvalidNetwork(f"more than {MAX_INPUTS} input values")
        if any(layer.weight_shape[0] * layer.positions > MAX_PATCHES for layer in self.synaptic):
            raise InvalidNetwork(f"a layer gathers more than {MAX_PATCHES} inputs a timestep")
        if sum(int(np.prod(layer.weight_shape)) for layer in self.synaptic) > MAX_WEIGHTS:
            raise InvalidNetwork(f"more than {MAX_WEIGHTS} weights")

    @property
    def input_shape(self) -> Shape:
        return self.layers[0].in_shape

    @property
    def classes(self) -> int:
        return self.layers[-1].out_shape[2]

    @property
    def synaptic(self) -> tuple[Synaptic, ...]:
        return tuple(layer for layer in self.layers if isinstance(layer, Synaptic))

    @property
    def matrices(self) -> tuple[Synaptic, ...]:
        """Synaptic layers but shortcuts that add spikes channel by channel."""
        return tuple(layer for layer in self.synaptic if is_matrix(layer))

    @property
    def lifs(self) -> tuple[Lif, ...]:
        return tuple(layer for layer in self.layers if isinstance(layer, Lif))

    @property
    def feeding(self) -> tuple[tuple[int, ...], ...]:
        """Indices in ``synaptic`` of the layers that feed each LIF layer."""
        fed: list[tuple[int, ...]] = []
        pending: list[int] = []
        count = 0
        for layer in self.layers:
            if isinstance(layer, Lif):
                fed.append(tuple(pending))
                pending = []
            elif isinstance(layer, Synaptic):
                pending.append(count)
                count += 1
        return tuple(fed)

    @property
    def neurons(self) -> int:
        return sum(int(np.prod(lif.in_shape)) for lif in self.lifs)

    @property
    def parameters(self) -> int:
        """Synaptic weights in matrices, without biases and thresholds."""
        return sum(int(np.prod(layer.weight_shape)) for layer in self.matrices)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one dense timestep."""
        weights = [int(np.prod(layer.weight_shape)) for layer in self.matrices]
        positions = [layer.positions for layer in self.matrices]
        return sum(count * times for count, times in zip(weights, positions, strict=True))


def is_matrix(layer: Synaptic) -> bool:
    """Whether its weights form a matrix, as all do but those of an unprojected shortcut."""
    return not isinstance(layer, Shortcut) or layer.projects


def fan_out(layer: Synaptic) -> int:
    """Output channels that one active pair adds to: its synaptic operations."""
    return layer.out_channels if is_matrix(layer) else 1


def coverage(layer: Synaptic) -> NDArray[np.int64]:
    """How many output positions see each input position, ``[height, width]``.

    Exact at borders and for any stride: this turns a spike count into active pairs.
    """
    return np.outer(*_seen(layer))


def connections(layer: Synaptic) -> int:
    """(input, output position) pairs: the active pairs of a frame without a zero."""
    rows, columns = _seen(layer)
    return int(rows.sum()) * int(columns.sum()) * layer.in_shape[2]


def _seen(layer: Synaptic) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many windows see each input row, ``[height]``, and each column, ``[width]``."""
    height, width, _ = layer.in_shape
    if isinstance(layer, Linear):
        return np.ones(height, np.int64), np.ones(width, np.int64)
    if isinstance(layer, Shortcut):
        rows, columns, _ = layer.out_shape
        return (
            (np.arange(height) < rows * layer.pool).astype(np.int64),
            (np.arange(width) < columns * layer.pool).astype(np.int64),
        )

    def seen(extent: int, windows: int) -> NDArray[np.int64]:
        starts = np.arange(windows) * layer.stride
        begun = np.zeros(extent + 2 * layer.padding + 1, np.int64)
        begun[starts] += 1
        begun[starts + layer.kernel] -= 1
        return begun.cumsum()[layer.padding : layer.padding + extent]

    rows, columns, _ = layer.out_shape
    return seen(height, rows), seen(width, columns)


def input_maximum(network: Network, layer: Synaptic) -> int:
    """The largest value an input of ``layer`` can take: 255 for pixels, 1 for spikes."""
    largest = 255
    for candidate in network.layers:
        if candidate is layer:
            return layer.pool**2 if isinstance(layer, Shortcut) else largest
        if isinstance(candidate, Lif):
            largest = 1
        elif isinstance(candidate, Pool) and candidate.mode == "sum":
            largest *= candidate.kernel**2
    raise InvalidNetwork(f"layer {layer.name!r} is not in the network")
