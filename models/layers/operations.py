"""The few array operations that layers are described in.

Every engine that runs a network layer by layer implements them for its own kind of array: numpy
in the reference, tensors in the torch engine, nodes in the exported ONNX graph, floats with
gradients in training. A layer kind says once, in its own file, what it does with them.
"""

from __future__ import annotations

from typing import Any, Protocol

from spikeserve.models.layers.window import Window

Value = Any
"""A map ``[N, height, width, channels]``, or per-channel numbers, in the engine's own type and
axis order. It knows ``+``, ``-``, ``*`` and ``>=``; comparisons know ``&``, ``|`` and ``~``."""


class MapOperations(Protocol):
    """What synaptic layers and pools are described in."""

    def convolved(self, x: Value, weight: Value, window: Window, groups: int) -> Value:
        """``[N, H, W, c_in]`` with ``weight [kernel area * c_in / groups, c_out]``.

        Rows of ``weight`` run over the window's rows, columns, and its group's channels.
        """
        ...

    def max_pooled(self, x: Value, window: Window) -> Value: ...

    def sum_pooled(self, x: Value, window: Window, channels: int) -> Value:
        """``channels`` of ``x``, for graphs whose values do not know their shape."""
        ...

    def channels(self, numbers: Value) -> Value:
        """Numbers ``[C]`` or ``[1, C]``, one a channel, to be combined with a map."""
        ...


class Operations(MapOperations, Protocol):
    """What neurons need besides; exact on integers below 2^24, whatever the type holding them."""

    def floor_scaled(self, x: Value, multiplier: int, bits: int, nearest: bool = False) -> Value:
        """``floor(x * multiplier / 2^bits)``; ``nearest``: with half a unit added before."""
        ...

    def floor_divided(self, x: Value, divisor: Value) -> Value:
        """``floor(x / divisor)`` of ``x`` in 0…32767 by positive numbers up to 32768."""
        ...

    def clipped(self, x: Value, low: int, high: int) -> Value: ...

    def where(self, condition: Value, chosen: Value | int, otherwise: Value) -> Value: ...

    def numbers(self, spikes: Value) -> Value:
        """Truth values as 0 and 1."""
        ...
