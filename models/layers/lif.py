"""Leaky integrate-and-fire neurons: the equations, in one place.

v = clip(floor(v * leak_q / 2^leak_bits) + I, -32768, 32767)
s = v >= theta                       and not yet fired, where the layer fires once
v = 0 where s (hard reset)           v - reset_by where s (soft reset), clipped again

The first ``v`` is the initial potential. Thresholds, what a soft reset takes away and initial
potentials are numbers of the program, one a channel.
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
    kind: Literal["lif"] = "lif"

    def __post_init__(self) -> None:
        if self.leak_q > 1 << self.leak_bits:
            raise InvalidNetwork(
                f"layer {self.name!r}: leak_q: {self.leak_q} of {1 << self.leak_bits} is a leak "
                "above 1"
            )

    @property
    def out_shape(self) -> Shape:
        return self.in_shape

    @property
    def leak(self) -> float:
        """The share of a membrane potential that stays, 0…1."""
        return self.leak_q / (1 << self.leak_bits)

    def step(
        self,
        operations: Operations,
        memory: Memory,
        current: Value,
        threshold: Value,
        reset_by: Value,
    ) -> tuple[Value, Memory]:
        """One timestep: which neurons spike, as truth values, and their memory afterwards.

        Args:
            current: synaptic input ``[N, *in_shape]``.
            threshold: ``[C]``, as ``operations.channels`` gives it.
            reset_by: likewise, what a soft reset takes away.
        """
        v, fired = memory
        if self.leak_q != 1 << self.leak_bits:
            v = operations.floor_scaled(v, self.leak_q, self.leak_bits)
        v = operations.clipped(v + current, MEMBRANE_MIN, MEMBRANE_MAX)
        spikes = v >= threshold
        if self.fire_once:
            spikes = spikes & ~fired
            fired = fired | spikes
        if self.reset == "hard":
            return spikes, Memory(operations.where(spikes, 0, v), fired)
        v = operations.where(spikes, v - reset_by, v)
        return spikes, Memory(operations.clipped(v, MEMBRANE_MIN, MEMBRANE_MAX), fired)
