"""A network: a plain tuple of layers, read top to bottom, checked to be a spiking classifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np

from spikeserve.models.errors import InvalidNetwork
from spikeserve.models.layers import Layer, Lif, Linear, Pool, Shape, Shortcut, Synaptic

X = TypeVar("X")

MAX_NEURONS = 1 << 24  # a row's state must stay far below memory, whatever a manifest claims
MAX_WEIGHTS = 1 << 28
MAX_INPUTS = 1 << 24
MAX_PATCHES = 1 << 27  # window elements of one layer, all output positions


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
        if not isinstance(self.layers[0], Synaptic) or self.layers[0].joins:
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
            joins = isinstance(after, Synaptic) and after.joins
            passing = after.out_shape if joins else after.in_shape
            if before.out_shape != passing:
                raise InvalidNetwork(
                    f"layer {after.name!r} expects {passing}, "
                    f"but {before.name!r} produces {before.out_shape}"
                )
            if isinstance(before, Synaptic) != (joins or isinstance(after, Lif)) or (
                joins and isinstance(before, Synaptic) and before.joins
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
        several: set[str] = set()
        spiking = False
        for layer in self.layers:
            spiking = (isinstance(layer, Lif) and layer.max_spikes == 1) or (
                spiking and isinstance(layer, Pool) and layer.spiking
            )
            if isinstance(layer, Lif) and layer.max_spikes > 1:
                several.add(layer.name)
            if spiking:
                sources[layer.name] = layer.out_shape
            if isinstance(layer, Shortcut):
                if layer.source in several:
                    raise InvalidNetwork(
                        f"shortcut {layer.name!r}: {layer.source!r} puts out counts of spikes; a "
                        "shortcut's source spikes once a timestep at most"
                    )
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
        if self.neurons > MAX_NEURONS:
            raise InvalidNetwork(f"more than {MAX_NEURONS} neurons")
        if int(np.prod(self.input_shape)) > MAX_INPUTS:
            raise InvalidNetwork(f"more than {MAX_INPUTS} input values")
        if any(
            layer.window.area * int(np.prod((*layer.out_shape[:2], layer.in_shape[2])))
            > MAX_PATCHES
            for layer in self.layers
            if not isinstance(layer, Lif)
        ):
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
        return tuple(layer for layer in self.synaptic if layer.is_matrix)

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

    def counts(self, inputs: bool) -> tuple[bool, ...]:
        """Whether each synaptic layer's inputs are counts of spikes or events, pooled or not.

        Neurons that may spike several times a timestep put out counts.

        Args:
            inputs: the network's own inputs are counts.
        """
        found = []
        for layer in self.layers:
            if isinstance(layer, Lif):
                inputs = layer.max_spikes > 1
            elif isinstance(layer, Synaptic):
                found.append(inputs and not layer.joins)
        return tuple(found)

    def possible_pairs(self, largest_count: int | None) -> tuple[int, ...]:
        """The most active pairs that each synaptic layer can have in a timestep, ``[L]``.

        One for every connection, or as many as its input may count.

        Args:
            largest_count: of the network's own inputs, where they are counts of events.
        """
        counts = self.counts(largest_count is not None)
        return tuple(
            layer.connections * (input_maximum(self, layer, largest_count or 1) if counted else 1)
            for layer, counted in zip(self.synaptic, counts, strict=True)
        )

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
        return sum(layer.macs for layer in self.matrices)

    def carry(self, x: X, through: Callable[[Layer, X, X], X]) -> X:
        """Take ``x`` through all layers: the walk of everything that computes with arrays.

        Engines but the event engine, training and exported graphs take it; the event engine's
        tables are built by a walk of their own.

        Args:
            through: ``(layer, x, read)`` to the layer's output; ``x`` is what the layer before put
                out, ``read`` what the layer reads: the same, or an earlier layer's output.
        """
        outputs: dict[str, X] = {}
        for layer in self.layers:
            joined = layer.input_name if isinstance(layer, Synaptic) else None
            x = through(layer, x, x if joined is None else outputs[joined])
            outputs[layer.name] = x
        return x


LARGEST_PIXEL = 255


def input_maximum(network: Network, layer: Synaptic, largest: int = LARGEST_PIXEL) -> int:
    """The largest value an input of ``layer`` can take: ``largest`` for the network's own inputs,
    1 for spikes, more where they are counted."""
    for candidate in network.layers:
        if candidate is layer:
            return layer.input_growth if layer.input_name is not None else largest
        if isinstance(candidate, Lif):
            largest = candidate.max_spikes
        elif isinstance(candidate, Pool) and candidate.mode == "sum":
            largest *= candidate.window.area
    raise InvalidNetwork(f"layer {layer.name!r} is not in the network")
