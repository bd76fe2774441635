"""Networks that take a vector, as networks that take the images that the vector is made of."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from spikeserve.importing.data.arrays import arrays_of
from spikeserve.importing.data.loading import NAMES
from spikeserve.importing.network import FloatNetwork, Synapse
from spikeserve.models.layers import Linear, Shape


def with_map(network: FloatNetwork, data: Path) -> FloatNetwork:
    """``network`` with its first layer reading a map, where it reads a vector and ``data`` are
    images; a vector runs over channels, rows and columns of a map, as frameworks flatten it."""
    first = network.layers[0]
    if not isinstance(first, Synapse) or not isinstance(first.layer, Linear):
        return network
    height, width, size = first.layer.in_shape
    if (height, width) != (1, 1):
        return network
    shape = _map_of(arrays_of(data, NAMES)[1].shape, size) if data.is_file() else _square(size)
    if shape is None:
        return network
    height, width, channels = shape
    rows = np.arange(size).reshape(channels, height, width).transpose(1, 2, 0).reshape(-1)
    layer = replace(first.layer, in_shape=shape)
    return replace(
        network, layers=(Synapse(layer, first.weight[rows], first.bias), *network.layers[1:])
    )


def _map_of(shape: tuple[int, ...], size: int) -> Shape | None:
    """The map that arrays of ``shape`` hold, one or two axes leading, of ``size`` values."""
    for leading in (1, 2):
        rest = shape[leading:]
        if math.prod(rest) != size:
            continue
        if len(rest) == 1:
            return _square(size)
        if len(rest) == 2:
            return (rest[0], rest[1], 1)
        if len(rest) == 3:
            channels_last = rest[2] < rest[0]
            return (rest[0], rest[1], rest[2]) if channels_last else (rest[1], rest[2], rest[0])
    return None


def _square(size: int) -> Shape | None:
    """A square image of one or three channels."""
    for channels in (1, 3):
        side = math.isqrt(size // channels)
        if side * side * channels == size:
            return (side, side, channels)
    return None
