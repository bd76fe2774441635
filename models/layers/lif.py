"""Leaky integrate-and-fire neurons: the equations, in one place.

v = clip(floor(v * leak_q / 256) + I, -32768, 32767)
s = v >= theta                       and not yet fired, where the layer fires once
v = 0 where s (hard reset)           v - theta where s (soft reset), clipped again
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from spikeserve.models.layers.kind import layer_kind
from spikeserve.models.layers.operations import Operations, Value
from spikeserve.models.layers.window import Shape

MEMBRANE_MIN, MEMBRANE_MAX = -32768, 32767
LEAK_BITS = 8


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
    leak_q: Annotated[int, Field(ge=0, le=256)] = 256
    """What stays of a membrane potential after a timestep, in 256ths."""
    reset: Literal["hard", "soft"] = "hard"
    fire_once: bool = True
    kind: Literal["lif"] = "lif"

    @property
    def out_shape(self) -> Shape:
        return self.in_shape

    def step(
        self, operations: Operations, memory: Memory, current: Value, threshold: Value
    ) -> tuple[Value, Memory]:
        """One timestep: which neurons spike, as truth values, and their memory afterwards.

        Args:
            current: synaptic input ``[N, *in_shape]``.
            threshold: ``[C]``, as ``operations.channels`` gives it.
        """
        v, fired = memory
        if self.leak_q != 1 << LEAK_BITS:
            v = operations.floor_scaled(v, self.leak_q, LEAK_BITS)
        v = operations.clipped(v + current, MEMBRANE_MIN, MEMBRANE_MAX)
        spikes = v >= threshold
        if self.fire_once:
            spikes = spikes & ~fired
            fired = fired | spikes
        if self.reset == "hard":
            return spikes, Memory(operations.where(spikes, 0, v), fired)
        v = operations.where(spikes, v - threshold, v)
        return spikes, Memory(operations.clipped(v, MEMBRANE_MIN, MEMBRANE_MAX), fired)
