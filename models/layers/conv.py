"""Convolutions, grouped and depthwise ones included."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from spikeserve.models.errors import InvalidNetwork
from spikeserve.models.layers.kind import layer_kind
from spikeserve.models.layers.operations import MapOperations, Value
from spikeserve.models.layers.synaptic import Synaptic, WeightBits
from spikeserve.models.layers.window import Extent, Shape, Window, pair

Kernel = Annotated[int, Field(ge=1, le=31)]
Padding = Annotated[int, Field(ge=0, le=15)]


@layer_kind
class Conv(Synaptic):
    """A convolution with zero padding.

    ``shift`` right-shifts its sums: of a first layer, whose pixels are large numbers.

    ``kernel``, ``stride`` and ``padding`` are one number, or two: down and across. Each of
    ``groups`` groups of output channels sees its own share of the input channels only.
    """

    name: str
    in_shape: Shape
    out_channels: Extent
    kernel: Kernel | tuple[Kernel, Kernel] = 3
    stride: Kernel | tuple[Kernel, Kernel] = 1
    padding: Padding | tuple[Padding, Padding] = 1
    shift: Annotated[int, Field(ge=0, le=24)] = 0
    groups: Extent = 1
    weight_bits: WeightBits = None
    kind: Literal["conv"] = "conv"

    def __post_init__(self) -> None:
        if self.in_shape[2] % self.groups or self.out_channels % self.groups:
            raise InvalidNetwork(
                f"layer {self.name!r}: {self.groups} groups do not divide {self.in_shape[2]} "
                f"input and {self.out_channels} output channels"
            )

    @property
    def window(self) -> Window:
        return Window(pair(self.kernel), pair(self.stride), pair(self.padding))

    @property
    def weight_shape(self) -> tuple[int, int]:
        return (self.window.area * self.in_shape[2] // self.groups, self.out_channels)

    def sums(self, operations: MapOperations, x: Value, weight: Value) -> Value:
        return operations.convolved(x, weight, self.window, self.groups)
