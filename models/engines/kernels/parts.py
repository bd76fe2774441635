"""Parts of a layer: runs of output lanes that read the same input channels.

A mask word of 64 output channels reads what its channels' groups read. Neighbouring words
that read the same are one part, so an ungrouped layer is one part that reads everything. A
part's weights are a matrix over its own input channels, with zeros where an output's group
does not see an input.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeserve.models.engines.kernels.arguments import WORD
from spikeserve.models.engines.kernels.packing import lanes_of
from spikeserve.models.layers import Synaptic


@dataclass(frozen=True)
class Part:
    """``inputs`` and ``lanes`` of a layer."""

    inputs: range
    lanes: range

    @property
    def words(self) -> range:
        """Mask words of an input pixel that hold the part's channels."""
        return range(self.inputs.start // WORD, -(-self.inputs.stop // WORD))


def is_depthwise(layer: Synaptic) -> bool:
    """Whether every channel sees itself alone."""
    return layer.groups == layer.in_shape[2] == layer.out_channels


def parts_of(layer: Synaptic) -> list[Part]:
    inputs = layer.in_shape[2] // layer.groups
    outputs = layer.out_channels // layer.groups

    def read(lane: int) -> tuple[int, int]:
        last = min(lane + WORD, layer.out_channels) - 1
        return lane // outputs * inputs, (last // outputs + 1) * inputs

    found = []
    for channels, run in groupby(range(0, lanes_of(layer.out_channels), WORD), key=read):
        starts = list(run)
        found.append(Part(range(*channels), range(starts[0], starts[-1] + WORD)))
    return found


def whole_matrix(layer: Synaptic, weight: NDArray[Any]) -> NDArray[Any]:
    """``[window area * inputs of a group, c_out]``: a shortcut has one weight for all places."""
    rows = layer.window.area * layer.in_shape[2] // layer.groups
    return np.tile(weight, (rows // len(weight), 1))


def matrix_of(layer: Synaptic, part: Part, weight: NDArray[Any]) -> NDArray[Any]:
    """The part's share of a whole matrix, ``[window area * its channels, lanes]``."""
    area, groups = layer.window.area, layer.groups
    inputs, outputs = layer.in_shape[2] // groups, layer.out_channels // groups
    whole = weight.reshape(area, inputs, layer.out_channels)
    matrix = np.zeros((area, len(part.inputs), len(part.lanes)), weight.dtype)
    for first in range(part.inputs.start, part.inputs.stop, inputs):
        start = max(first // inputs * outputs, part.lanes.start)
        stop = min((first // inputs + 1) * outputs, part.lanes.stop)
        channel, lane = first - part.inputs.start, start - part.lanes.start
        matrix[:, channel : channel + inputs, lane : lane + stop - start] = whole[:, :, start:stop]
    return matrix.reshape(-1, len(part.lanes))
