"""Layers on a chip's crossbars.

R   = c_in k k / g                V   = h_out w_out           of g groups, 1 unless grouped
n_r = g ceil(R / rows of a PE)    n_c = ceil(c_out cells / g X)
N   = n_r n_c V                   PE cycles of a layer per timestep, one output position each
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from spikeserve.models.energy.hardware import HardwareProfile
from spikeserve.models.layers import Synaptic


@dataclass(frozen=True)
class Mapping:
    """Where the weights of some layers lie; every tuple has one entry a layer, ``[L]``."""

    profile: HardwareProfile
    positions: tuple[int, ...]
    """Output positions V."""
    row_groups: tuple[int, ...]
    """PEs that share a layer's inputs, n_r; of all its groups together."""
    column_groups: tuple[int, ...]
    """PEs that share a group's outputs, n_c; an input row drives all of them."""

    @property
    def cycles(self) -> tuple[int, ...]:
        """PE cycles N of a timestep."""
        groups = zip(self.row_groups, self.column_groups, self.positions, strict=True)
        return tuple(rows * columns * positions for rows, columns, positions in groups)

    @property
    def all_rows(self) -> tuple[int, ...]:
        """Driven (row, output position) pairs of a timestep when a cycle drives every row."""
        groups = zip(self.row_groups, self.positions, strict=True)
        return tuple(self.profile.pe_rows * rows * positions for rows, positions in groups)

    @property
    def pes(self) -> int:
        groups = zip(self.row_groups, self.column_groups, strict=True)
        return sum(rows * columns for rows, columns in groups)

    @property
    def crossbars(self) -> int:
        return self.pes * self.profile.crossbars_per_pe

    @property
    def tiles(self) -> int:
        return math.ceil(self.pes / self.profile.pes_per_tile)


def mapped(layers: Sequence[Synaptic], profile: HardwareProfile, weight_bits: int) -> Mapping:
    """``layers`` on the chip of ``profile``: weights of ``weight_bits``, or of the layer's own.

    A grouped convolution is mapped a group at a time: each has PEs of its own, and an input
    drives those of its group. A shortcut without a matrix needs no crossbar: its spikes join the
    sums that are accumulated anyway, one addition beside the hundreds of a window, which is not
    charged.
    """
    cells = [math.ceil((layer.weight_bits or weight_bits) / profile.cell_bits) for layer in layers]
    columns = [
        layer.fan_out * each if layer.is_matrix else 0
        for layer, each in zip(layers, cells, strict=True)
    ]
    return Mapping(
        profile,
        tuple(layer.positions if layer.is_matrix else 0 for layer in layers),
        tuple(
            layer.groups * math.ceil(layer.weight_shape[0] / profile.pe_rows) for layer in layers
        ),
        tuple(math.ceil(count / profile.crossbar_size) for count in columns),
    )
