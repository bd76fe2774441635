"""Pooling."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from spikeserve.models.errors import InvalidNetwork
from spikeserve.models.layers.kind import layer_kind
from spikeserve.models.layers.operations import MapOperations, Value
from spikeserve.models.layers.window import Shape, Window, pair

Size = Annotated[int, Field(ge=1, le=64)]
Margin = Annotated[int, Field(ge=0, le=32)]


@layer_kind
class Pool:
    """``max`` is an OR over spikes, ``sum`` counts them; windows may overlap.

    An average pool is a ``sum`` whose factor the quantiser folds into the layer after it, so
    that no division is left at run time; padding counts as zeros. ``stride`` is the kernel,
    unless given.
    """

    name: str
    in_shape: Shape
    kernel: Size | tuple[Size, Size] = 2
    mode: Literal["max", "sum"] = "max"
    stride: Size | tuple[Size, Size] | None = None
    padding: Margin | tuple[Margin, Margin] = 0
    kind: Literal["pool"] = "pool"

    def __post_init__(self) -> None:
        window = self.window
        if any(2 * p > k for p, k in zip(window.padding, window.kernel, strict=True)):
            raise InvalidNetwork(f"layer {self.name!r}: padding of more than half the kernel")

    @property
    def window(self) -> Window:
        stride = self.kernel if self.stride is None else self.stride
        return Window(pair(self.kernel), pair(stride), pair(self.padding))

    @property
    def out_shape(self) -> Shape:
        return (*self.window.positions(self.in_shape[:2]), self.in_shape[2])

    @property
    def spiking(self) -> bool:
        """Whether spikes stay spikes."""
        return self.mode == "max" or self.window.area == 1

    def pooled(self, operations: MapOperations, x: Value) -> Value:
        """``[N, *in_shape]`` to ``[N, *out_shape]``."""
        if self.mode == "max":
            return operations.max_pooled(x, self.window)
        return operations.sum_pooled(x, self.window, self.in_shape[2])
