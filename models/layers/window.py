"""Windows that slide over a map: the geometry that convolutions and pools share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

Extent = Annotated[int, Field(ge=1, le=65_536)]
Shape = tuple[Extent, Extent, Extent]
"""``(height, width, channels)``; flattening keeps that order."""
Pair = tuple[int, int]
"""Down and across."""


def pair(value: int | Pair) -> Pair:
    """One number stands for both directions."""
    return (value, value) if isinstance(value, int) else value


@dataclass(frozen=True)
class Window:
    """``kernel``, ``stride`` and ``padding`` as ``(down, across)``; padding is zeros."""

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)

    @property
    def area(self) -> int:
        return self.kernel[0] * self.kernel[1]

    def positions(self, extents: Pair) -> Pair:
        """How many windows a map of ``extents`` has, down and across."""
        down, across = (
            (extent + 2 * padding - kernel) // stride + 1
            for extent, kernel, stride, padding in zip(
                extents, self.kernel, self.stride, self.padding, strict=True
            )
        )
        return down, across

    def seen(self, extents: Pair) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """How many windows see each row, ``[height]``, and each column, ``[width]``."""
        down, across = (self._seen(axis, extents) for axis in (0, 1))
        return down, across

    def _seen(self, axis: int, extents: Pair) -> NDArray[np.int64]:
        kernel, padding, extent = self.kernel[axis], self.padding[axis], extents[axis]
        starts = np.arange(self.positions(extents)[axis]) * self.stride[axis]
        begun = np.zeros(extent + 2 * padding + 1, np.int64)
        begun[starts] += 1
        np.subtract.at(begun, starts + kernel, 1)
        return begun.cumsum()[padding : padding + extent]


def kernels_of(weight: NDArray[Any], window: Window) -> NDArray[Any]:
    """A weight matrix ``[area * channels, c_out]`` as ``[c_out, channels, height, width]``."""
    kernels = weight.T.reshape(weight.shape[1], *window.kernel, -1)
    return kernels.transpose(0, 3, 1, 2)
