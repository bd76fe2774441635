"""Energy by component and timestep, and latency, of layers on a chip.

    Q[t]    = X sum_l n_c b A[t]     cells of driven rows, where a component is per active_cell
            | X sum_l N b            columns
            | sum_l N b              cycles
    E[t, c] = e_c Q[t]               or for t = 1 only, with b = 1: what is charged once
    E[t, exit] = e_exit K
    L[t]    = sum_l V b cycle_ns     layers one after the other; pipelined: max_l

``A`` counts (non-zero input, output position) pairs, exact at borders and for any stride, and one
for each spike or event where inputs are counts; ``b`` is the number of cycles a frame takes, 1 but
for the first layer's analog frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from spikeserve.models.encoding import Encoding
from spikeserve.models.energy.hardware import HardwareProfile
from spikeserve.models.energy.mapping import Mapping, mapped
from spikeserve.models.layers import Synaptic

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

EXIT = "exit"


@dataclass(frozen=True)
class Chip:
    """Layers mapped onto crossbars, and what a timestep of them costs."""

    profile: HardwareProfile
    layers: tuple[Synaptic, ...]
    weight_bits: int
    encoding: Encoding
    classes: int

    @cached_property
    def mapping(self) -> Mapping:
        return mapped(self.layers, self.profile, self.weight_bits)

    @cached_property
    def components(self) -> tuple[str, ...]:
        """Names, in the order of every array over components, ``[C]``."""
        return (*self.profile.components, EXIT)

    @cached_property
    def frame_cycles(self) -> Counts:
        """Cycles a frame takes in each layer, ``[T, L]``."""
        timesteps = range(1, self.encoding.timesteps + 1)
        cycles = np.ones((self.encoding.timesteps, len(self.layers)), np.int64)
        analog = [self.encoding.analog(t) for t in timesteps]
        cycles[analog, 0] = self.profile.pixel_bits
        return cycles

    @cached_property
    def driven_cells(self) -> Counts:
        """Cells that one active pair drives, ``[T, L]``; 0 where a cycle drives every row."""
        if self.profile.rows == "all":
            return np.zeros_like(self.frame_cycles)
        columns = self.profile.crossbar_size * np.array(self.mapping.column_groups)
        cells: Counts = self.frame_cycles * columns
        return cells

    def breakdown(self, active_pairs: Sequence[Counts] | Counts | Floats) -> Floats:
        """Energy in pJ by timestep and component, ``[t, C]``, of ``active_pairs [t, L]``."""
        pairs = np.asarray(active_pairs, float)
        t, size = len(pairs), self.profile.crossbar_size
        frame_cycles = self.frame_cycles[:t]
        cycles = (frame_cycles * np.array(self.mapping.cycles)).sum(axis=1).astype(float)
        if self.profile.rows == "all":
            cells = cycles * size * self.profile.pe_rows
        else:
            cells = (pairs * self.driven_cells[:t]).sum(axis=1)
        once = np.where(np.arange(t) == 0, float(sum(self.mapping.cycles)), 0.0)
        quantities = {"active_cell": cells, "column": size * cycles, "cycle": cycles}
        once_quantities = {"column": size * once, "cycle": once}
        parts = [
            part.energy_pj * (once_quantities if part.once else quantities)[part.per]
            for part in self.profile.components.values()
        ]
        exits = np.full(t, self.profile.exit_pj_per_class * self.classes)
        return np.stack([*parts, exits], axis=1)

    @cached_property
    def latency_ns(self) -> Floats:
        """Time until the end of every timestep, layers one after the other, ``[T]``."""
        ends: Floats = self._layer_ns.sum(axis=1).cumsum()
        return ends

    @cached_property
    def pipelined_latency_ns(self) -> Floats:
        """The lower bound: all layers at work at once, the slowest sets the pace, ``[T]``."""
        ends: Floats = self._layer_ns.max(axis=1).cumsum()
        return ends

    @property
    def _layer_ns(self) -> Floats:
        positions = self.frame_cycles * np.array(self.mapping.positions)
        nanoseconds: Floats = positions * self.profile.cycle_ns
        return nanoseconds
