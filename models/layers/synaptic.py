"""What all layers with weights have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from spikeserve.models.layers.operations import MapOperations, Value
from spikeserve.models.layers.window import Shape, Window

WeightBits = Annotated[int, Field(ge=2, le=16)] | None


class Synaptic(ABC):
    """A layer that turns spikes (or pixels) into currents: ``(W * x >> shift) + b``.

    Weights are matrices ``[rows, c_out]``, contiguous over ``c_out``, so that one input spike
    addresses one row.

    The event engine does not call ``sums``: it runs every such layer as the convolution that
    ``window``, ``groups`` and the weight matrix describe. A kind that is something else has to be
    refused or written in ``engines/kernels/builder.py``.
    """

    name: str
    in_shape: Shape
    out_channels: int
    shift: int = 0
    weight_bits: int | None = None
    """Bits of a matrix's weights; the bundle's, unless given."""

    @property
    @abstractmethod
    def window(self) -> Window:
        """Which inputs an output position sees."""

    @property
    @abstractmethod
    def weight_shape(self) -> tuple[int, int]: ...

    @abstractmethod
    def sums(self, operations: MapOperations, x: Value, weight: Value) -> Value:
        """``W * x``: ``[N, *in_shape]`` to ``[N, *out_shape]``, before shift and bias."""

    @property
    def groups(self) -> int:
        """In how many groups input and output channels see each other."""
        return 1

    @property
    def input_name(self) -> str | None:
        """The earlier layer whose output is read; None: that of the layer before.

        The currents of such a layer join those of the layer before.
        """
        return None

    @property
    def joins(self) -> bool:
        """Whether its currents are added to those of the layer before."""
        return self.input_name is not None

    @property
    def input_growth(self) -> int:
        """By how much an input can grow before it meets a weight."""
        return 1

    @property
    def is_matrix(self) -> bool:
        """Whether weights are matrices of few bits, on crossbars."""
        return True

    @property
    def is_wide(self) -> bool:
        """Whether weights are int16, not int8."""
        return not self.is_matrix or (self.weight_bits or 0) > 8

    @property
    def fan_out(self) -> int:
        """Output channels that one active pair adds to: its synaptic operations."""
        return self.out_channels // self.groups

    @property
    def out_shape(self) -> Shape:
        return (*self.window.positions(self.in_shape[:2]), self.out_channels)

    @property
    def positions(self) -> int:
        """Output positions: how often the weight matrix is applied per timestep."""
        return self.out_shape[0] * self.out_shape[1]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one dense timestep."""
        rows, columns = self.weight_shape
        return rows * columns * self.positions

    @property
    def coverage(self) -> NDArray[np.int64]:
        """How many output positions see each input position, ``[height, width]``.

        Exact at borders and for any stride: this turns a spike count into active pairs.
        """
        return np.outer(*self.window.seen(self.in_shape[:2]))

    @property
    def connections(self) -> int:
        """(input, output position) pairs: the active pairs of a frame without a zero."""
        rows, columns = self.window.seen(self.in_shape[:2])
        return int(rows.sum()) * int(columns.sum()) * self.in_shape[2]
