"""Fully connected layers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from spikeserve.models.layers.kind import layer_kind
from spikeserve.models.layers.operations import MapOperations, Value
from spikeserve.models.layers.synaptic import Synaptic, WeightBits
from spikeserve.models.layers.window import Extent, Shape, Window


@layer_kind
class Linear(Synaptic):
    """Connects every input to every output: one window, as large as the map."""

    name: str
    in_shape: Shape
    out_channels: Extent
    shift: Annotated[int, Field(ge=0, le=24)] = 0
    weight_bits: WeightBits = None
    kind: Literal["linear"] = "linear"

    @property
    def window(self) -> Window:
        return Window(self.in_shape[:2])

    @property
    def weight_shape(self) -> tuple[int, int]:
        return (self.window.area * self.in_shape[2], self.out_channels)

    def sums(self, operations: MapOperations, x: Value, weight: Value) -> Value:
        return operations.convolved(x, weight, self.window, self.groups)
