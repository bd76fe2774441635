"""Leaky integrate-and-fire neurons: the equations, in one place.

v = clip(floor(v * leak_q / 2^leak_bits) + I, -32768, 32767)      or floor(... + 1/2)
s = v >= theta                       and not yet fired, where the layer fires once
  | min(floor(max(v, 0) / theta), max_spikes)    where neurons spike several times a step
v = 0 where s (hard reset)           v - s * reset_by (soft reset), clipped again
v = max(v, minimum)

The first ``v`` is the initial potential. Thresholds, what a soft reset takes away, initial
potentials and minima are numbers of the program, one a channel.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from spikeserve.models.errors import InvalidNetwork
from spikeserve.models.layers.kind import layer_kind
from spikeserve.models.layers.operations import Operations, Value
from spikeserve.models.layers.window import Shape

MEMBRANE_MIN, MEMBRANE_MAX = -32768, 32767
COARSE_LEAK_BITS: Literal[8] = 8
FINE_LEAK_BITS: Literal[16] = 16


class Memory(NamedTuple):
    """What neurons keep from one timestep to the next."""

    v: Value
    """Membrane potentials ``[N, *in_shape]``."""
    fired: Value
    """Who has fired before; read and changed only where the layer fires once."""


class Numbers(NamedTuple):
    """A layer's numbers, one a channel each, as ``operations.channels`` gives them."""

    threshold: Value
    reset_by: Value
    """What a soft reset takes away for each spike."""
    minimum: Value | None
    """The lowest membrane potential after a timestep; None: that of int16."""


@layer_kind
class Lif:
    """A layer of neurons, each with its channel's threshold."""

    name: str
    in_shape: Shape
    leak_q: Annotated[int, Field(ge=0, le=1 << FINE_LEAK_BITS)] = 1 << COARSE_LEAK_BITS
    """What stays of a membrane potential after a timestep, in units of ``2^-leak_bits``."""
    reset: Literal["hard", "soft"] = "hard"
    fire_once: bool = True
    leak_bits: Literal[8, 16] = COARSE_LEAK_BITS
    leak_rounding: Literal["floor", "nearest"] = "floor"
    max_spikes: Annotated[int, Field(ge=1, le=255)] = 1
    """How often a neuron may spike in one timestep."""
    kind: Literal["lif"] = "lif"

    def __post_init__(self) -> None:
        if self.leak_q > 1 << self.leak_bits:
            raise InvalidNetwork(
                f"layer {self.name!r}: leak_q: {self.leak_q} of {1 << self.leak_bits} is a leak "
                "above 1"
            )
        if self.max_spikes > 1 and (self.fire_once or self.reset == "hard"):
            raise InvalidNetwork(
                f"layer {self.name!r}: max_spikes: neurons that spike several times a timestep "
                "have a soft reset and do not fire once"
            )

    @property
    def out_shape(self) -> Shape:
        return self.in_shape

    @property
    def leak(self) -> float:
        """The share of a membrane potential that stays, 0…1."""
        return self.leak_q / (1 << self.leak_bits)

    @property
    def rounds_to_nearest(self) -> bool:
        """Whether leaks are rounded to the nearest integer, halves up, and not down."""
        return self.leak_rounding == "nearest"

    def step(
        self,
        operations: Operations,
        memory: Memory,
        current: Value,
        numbers: Numbers,
    ) -> tuple[Value, Memory]:
        """One timestep: how often each neuron spikes, and their memory afterwards.

        Args:
            current: synaptic input ``[N, *in_shape]``.
        """
        v, fired = memory
        if self.leak_q != 1 << self.leak_bits:
            v = operations.floor_scaled(v, self.leak_q, self.leak_bits, self.rounds_to_nearest)
        v = operations.clipped(v + current, MEMBRANE_MIN, MEMBRANE_MAX)
        if self.max_spikes > 1:
            times = operations.floor_divided(
                operations.clipped(v, 0, MEMBRANE_MAX), numbers.threshold
            )
            spikes = operations.clipped(times, 0, self.max_spikes)
            v = operations.clipped(v - spikes * numbers.reset_by, MEMBRANE_MIN, MEMBRANE_MAX)
        else:
            fires = v >= numbers.threshold
            if self.fire_once:
                fires = fires & ~fired
                fired = fired | fires
            if self.reset == "hard":
                v = operations.where(fires, 0, v)
            else:
                v = operations.where(fires, v - numbers.reset_by, v)
                v = operations.clipped(v, MEMBRANE_MIN, MEMBRANE_MAX)
            spikes = operations.numbers(fires)
        if numbers.minimum is not None:
            v = operations.where(v >= numbers.minimum, v, numbers.minimum)
        return spikes, Memory(v, fired)
