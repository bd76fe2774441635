"""Residual shortcuts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from spikeserve.models.errors import InvalidNetwork
from spikeserve.models.layers.kind import layer_kind
from spikeserve.models.layers.operations import MapOperations, Value
from spikeserve.models.layers.synaptic import Synaptic, WeightBits
from spikeserve.models.layers.window import Extent, Shape, Window

POINT = Window((1, 1))


@layer_kind
class Shortcut(Synaptic):
    """A residual block's identity or projection: adds an earlier layer's spikes to the currents.

    Spikes are summed over non-overlapping windows of ``pool`` x ``pool`` (an average pool whose
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
    weight_bits: WeightBits = None
    kind: Literal["shortcut"] = "shortcut"

    def __post_init__(self) -> None:
        if self.weight_bits is not None and not self.projects:
            raise InvalidNetwork(
                f"layer {self.name!r}: weight_bits: a shortcut that does not project has weights "
                "of 16 bits"
            )

    @property
    def window(self) -> Window:
        return Window((self.pool, self.pool), (self.pool, self.pool))

    @property
    def weight_shape(self) -> tuple[int, int]:
        return (self.in_shape[2] if self.projects else 1, self.out_channels)

    @property
    def input_name(self) -> str:
        return self.source

    @property
    def input_growth(self) -> int:
        return self.window.area

    @property
    def is_matrix(self) -> bool:
        return self.projects

    @property
    def groups(self) -> int:
        return 1 if self.projects else self.in_shape[2]

    def sums(self, operations: MapOperations, x: Value, weight: Value) -> Value:
        if self.pool > 1:
            x = operations.sum_pooled(x, self.window, self.in_shape[2])
        if self.projects:
            return operations.convolved(x, weight, POINT, 1)
        return x * operations.channels(weight)
