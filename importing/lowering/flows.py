"""What an edge of a graph carries: spikes (or pixels) on their way to weights, or currents."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from spikeserve.importing.lowering.findings import Refusal
from spikeserve.importing.lowering.maps import Map, composed, identity, reading_scaled
from spikeserve.importing.network import Floats
from spikeserve.models.layers import Pool, Shape

INPUT = ""
"""The source of pixels, which no neurons put out."""


@dataclass(frozen=True)
class Signal:
    """Spikes of the neurons ``source``, behind pools, times a factor a channel."""

    source: str
    source_shape: Shape
    factor: Floats
    """``[C]``, for whatever weights come next."""
    pools: tuple[Pool, ...] = ()
    flat: bool = False
    """Whether the values stand in a row, channels first."""
    spiking: bool = True
    """False: membrane potentials, which only an output may read."""

    @property
    def shape(self) -> Shape:
        return self.pools[-1].out_shape if self.pools else self.source_shape

    @property
    def size(self) -> int:
        return prod(self.shape)

    def scaled(self, factor: Floats) -> Signal:
        return replace(self, factor=self.factor * factor)


@dataclass(frozen=True)
class Term:
    """A map of one signal; ``name`` is the node's that brought the weights."""

    signal: Signal
    map: Map
    name: str


@dataclass(frozen=True)
class Currents:
    """What terms add up to."""

    terms: tuple[Term, ...]
    flat: bool = False

    @property
    def shape(self) -> Shape:
        return self.terms[0].map.out_shape

    @property
    def size(self) -> int:
        return prod(self.shape)


Flow = Signal | Currents


def signal_of(source: str, shape: Shape, *, flat: bool = False, spiking: bool = True) -> Signal:
    return Signal(source, shape, np.ones(shape[2]), flat=flat, spiking=spiking)


def through(flow: Flow, one: Map, name: str) -> Currents:
    """``flow`` through weights; currents are folded into them.

    Raises:
        Refusal: currents of several signals, or a fold that is not exact.
    """
    if isinstance(flow, Signal):
        if not flow.spiking:
            raise Refusal("reads membrane potentials; only spikes may go on to weights")
        return Currents((Term(flow, reading_scaled(one, flow.factor), name),))
    return Currents(
        tuple(
            replace(term, map=composed(term.map, one if index == 0 else without_bias(one)))
            for index, term in enumerate(flow.terms)
        )
    )


def currents_of(flow: Flow, name: str) -> Currents:
    """Spikes that go to neurons without weights count as they are."""
    if isinstance(flow, Currents):
        return flow
    return replace(through(flow, identity(flow.shape), name), flat=flow.flat)


def joined(flows: list[Flow], name: str) -> Flow:
    """What several edges into one node add up to.

    Raises:
        Refusal: shapes differ.
    """
    if len(flows) == 1:
        return flows[0]
    if len({(flow.shape, flow.flat and flow.shape[:2] != (1, 1)) for flow in flows}) > 1:
        shapes = " and ".join(str(flow.shape) for flow in flows)
        raise Refusal(f"adds {shapes}: shapes differ")
    terms = [term for flow in flows for term in currents_of(flow, name).terms]
    return Currents(tuple(terms), flows[0].flat)


def without_bias(one: Map) -> Map:
    return replace(one, bias=np.zeros_like(one.bias))
