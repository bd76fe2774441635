"""Linear maps between spikes and currents: convolutions, and linear layers as one window.

    currents = weight * window of the input + bias

What follows another map without neurons between them is folded into it, exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from spikeserve.importing.lowering.findings import Refusal
from spikeserve.importing.network import Floats
from spikeserve.models.layers import Shape, Window
from spikeserve.models.network import MAX_WEIGHTS


@dataclass(frozen=True)
class Map:
    """``[H, W, c_in]`` to ``[h, w, c_out]``."""

    in_shape: Shape
    window: Window
    weight: Floats
    """``[kernel height, kernel width, c_in // groups, c_out]``."""
    bias: Floats
    """``[c_out]``."""
    groups: int = 1

    @property
    def out_shape(self) -> Shape:
        return (*self.window.positions(self.in_shape[:2]), self.weight.shape[3])

    @property
    def is_diagonal(self) -> bool:
        """Whether every channel goes to itself alone, place by place."""
        return (
            self.window == Window((1, 1))
            and self.groups == self.in_shape[2]
            and (self.weight.shape[2:] == (1, self.in_shape[2]))
        )


def identity(shape: Shape) -> Map:
    """What puts out what it reads."""
    channels = shape[2]
    return Map(shape, Window((1, 1)), np.ones((1, 1, 1, channels)), np.zeros(channels), channels)


def linear(shape: Shape, weight: Floats, bias: Floats) -> Map:
    """``weight [c_out, C * H * W]``, whose inputs run over channels first."""
    height, width, channels = shape
    by_place = weight.reshape(-1, channels, height, width).transpose(2, 3, 1, 0)
    return Map(shape, Window((height, width)), np.ascontiguousarray(by_place), bias)


def pooling(shape: Shape, window: Window, value: float) -> Map:
    """Sums of each channel's window, times ``value``."""
    channels = shape[2]
    weight = np.full((*window.kernel, 1, channels), value)
    return Map(shape, window, weight, np.zeros(channels), channels)


def scaled(one: Map, factor: Floats, shift: Floats | float = 0.0) -> Map:
    """``factor * currents + shift``, numbers ``[c_out]``."""
    return replace(one, weight=one.weight * factor, bias=one.bias * factor + shift)


def reading_scaled(one: Map, factor: Floats) -> Map:
    """The map of ``factor * input``, numbers ``[c_in]``."""
    if one.groups == 1:
        return replace(one, weight=one.weight * factor[:, None])
    share = factor.reshape(one.groups, -1)  # [groups, c_in / groups]
    channels = one.weight.shape[3] // one.groups
    return replace(one, weight=one.weight * np.repeat(share.T, channels, axis=1))


def ungrouped(one: Map) -> Map:
    """The same with zeros where groups do not see each other."""
    if one.groups == 1:
        return one
    inputs, outputs = one.weight.shape[2], one.weight.shape[3] // one.groups
    _check_size(*one.window.kernel, inputs * one.groups, one.weight.shape[3])
    dense = np.zeros((*one.window.kernel, inputs * one.groups, one.weight.shape[3]))
    for group in range(one.groups):
        rows = slice(group * inputs, (group + 1) * inputs)
        columns = slice(group * outputs, (group + 1) * outputs)
        dense[:, :, rows, columns] = one.weight[..., columns]
    return replace(one, weight=dense, groups=1)


def composed(first: Map, second: Map) -> Map:
    """``second`` of ``first``'s currents, as one map.

    Raises:
        Refusal: the second pads currents with zeros, which no single map does.
    """
    if second.window.padding != (0, 0):
        raise Refusal(
            "pads currents that no neurons have seen; put neurons between, or leave its padding out"
        )
    if first.is_diagonal:
        return _after_diagonal(first, second)
    (rows, columns), (down, across) = first.window.kernel, first.window.stride
    (more_rows, more_columns), (more_down, more_across) = second.window.kernel, second.window.stride
    kernel = (rows + (more_rows - 1) * down, columns + (more_columns - 1) * across)
    channels = second.weight.shape[3]
    depthwise = second.groups > 1 and second.groups == channels == first.weight.shape[3]
    if depthwise:
        groups, inputs = first.groups, first.weight.shape[2]
    else:
        first, second = ungrouped(first), ungrouped(second)
        groups, inputs = 1, first.weight.shape[2]
    _check_size(*kernel, inputs, channels)
    weight = np.zeros((*kernel, inputs, channels))
    for y in range(more_rows):
        for x in range(more_columns):
            tap = second.weight[y, x]
            part = first.weight * tap[0] if depthwise else first.weight @ tap
            weight[y * down : y * down + rows, x * across : x * across + columns] += part
    taps = second.weight.sum(axis=(0, 1))
    bias = second.bias + (first.bias * taps[0] if depthwise else first.bias @ taps)
    stride = (down * more_down, across * more_across)
    return Map(first.in_shape, Window(kernel, stride, first.window.padding), weight, bias, groups)


def _after_diagonal(first: Map, second: Map) -> Map:
    """A factor and a shift a channel before a map: no larger kernel, no denser one."""
    scaled_second = reading_scaled(second, first.weight[0, 0, 0])
    taps = ungrouped(second).weight.sum(axis=(0, 1))
    return replace(scaled_second, bias=second.bias + first.bias @ taps)


def added(one: Map, other: Map) -> Map:
    """Both maps of the same input, as one.

    Raises:
        Refusal: their windows move by different steps.
    """
    if one.in_shape != other.in_shape or one.out_shape != other.out_shape:
        raise Refusal(f"adds currents {one.out_shape} and {other.out_shape}")
    several = one.out_shape[:2] != (1, 1)
    if several and one.window.stride != other.window.stride:
        raise Refusal("adds currents whose windows have different strides; use one stride")
    if one.groups != other.groups:
        one, other = ungrouped(one), ungrouped(other)
    padding = tuple(map(max, one.window.padding, other.window.padding))
    offsets = [
        tuple(p - q for p, q in zip(padding, m.window.padding, strict=True)) for m in (one, other)
    ]
    kernel = tuple(
        max(o[axis] + m.window.kernel[axis] for o, m in zip(offsets, (one, other), strict=True))
        for axis in (0, 1)
    )
    weight = np.zeros((*kernel, *one.weight.shape[2:]))
    for (top, left), part in zip(offsets, (one, other), strict=True):
        rows, columns = part.window.kernel
        weight[top : top + rows, left : left + columns] += part.weight
    window = Window((kernel[0], kernel[1]), one.window.stride, (padding[0], padding[1]))
    total = Map(one.in_shape, window, weight, one.bias + other.bias, one.groups)
    if total.out_shape != one.out_shape:
        raise Refusal("adds currents whose windows begin at different places; use one padding")
    return total


def as_matrix(one: Map, flattened: bool = False) -> Floats:
    """Weights ``[H * W * c_in, outputs]`` of every input for every output.

    Outputs of several places run over channels first where they are ``flattened``, as a NIR
    ``Flatten`` has them, and are refused where they are not.
    """
    height, width, channels = one.in_shape
    down, across, outputs = one.out_shape
    if (down, across) != (1, 1) and not flattened:
        raise Refusal(f"puts out a map {down}x{across}; a classifier has one value a class")
    _check_size(height * width * channels, down * across * outputs)
    dense = ungrouped(one)
    (top, left), (rows, columns) = one.window.padding, one.window.kernel
    matrix = np.zeros((height + 2 * top, width + 2 * left, channels, outputs, down, across))
    for y in range(down):
        for x in range(across):
            at = (y * one.window.stride[0], x * one.window.stride[1])
            place = (slice(at[0], at[0] + rows), slice(at[1], at[1] + columns))
            matrix[(*place, slice(None), slice(None), y, x)] = dense.weight
    inner = matrix[top : top + height, left : left + width]
    return inner.reshape(height * width * channels, -1)


def _check_size(*extents: int) -> None:
    if math.prod(extents) > MAX_WEIGHTS >> 2:
        raise Refusal("would take too many weights once it is folded; put neurons between")
