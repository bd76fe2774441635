"""What an estimate is compared with: an ANN of the same layers, and counts of operations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul
from typing import NamedTuple

import numpy as np

from spikeserve.models.encoding import Encoding
from spikeserve.models.energy.chip import Chip, Counts, Floats
from spikeserve.models.layers import Synaptic

ANN_BITS = (4, 8)
"""Activation bits that are always shown, besides the fair ones."""


@dataclass(frozen=True)
class AnnBaseline:
    """An ANN of the same layers on the same chip."""

    bits: int
    energy_pj: float
    latency_ns: float
    edp_pj_ns: float


def fair_bits(spikes: int) -> int:
    """Activation bits that tell apart as many levels as a neuron's spikes, so many at most: one a
    timestep, or as many as neurons may spike in one."""
    return math.ceil(math.log2(spikes + 1))


def ann_baseline(chip: Chip, bits: int) -> AnnBaseline:
    """Bit-serial inputs: ``bits`` dense cycles where the spiking network has a timestep.

    The pixel layer takes as many, and no fewer than the spiking network's for an analog frame.
    No LIF neurons and no exits, but a shift-and-add a column and bit. What is charged once an
    inference for the one is charged once for the other.
    """
    profile, mapping = chip.profile, chip.mapping
    size, layer_cycles = profile.crossbar_size, mapping.cycles
    serial = [max(bits, profile.pixel_bits), *[bits] * (len(layer_cycles) - 1)]
    once = sum(layer_cycles)
    cycles = sum(map(mul, serial, layer_cycles))
    energy = profile.ann_shift_add_pj * size * cycles
    for name, part in profile.components.items():
        if name != "lif":
            units = {"active_cell": size * profile.pe_rows, "column": size, "cycle": 1}[part.per]
            energy += part.energy_pj * units * (once if part.once else cycles)
    latency = sum(map(mul, serial, mapping.positions)) * profile.cycle_ns
    return AnnBaseline(bits, energy, latency, energy * latency)


@dataclass(frozen=True)
class Arithmetic:
    """Energy of one operation in 45 nm logic, pJ (M. Horowitz, ISSCC 2014)."""

    name: str
    mac_pj: float
    ac_pj: float


ARITHMETICS = (
    Arithmetic("float32", 4.6, 0.9),
    Arithmetic("int32", 3.2, 0.1),
    Arithmetic("int8", 0.23, 0.03),
)
OPERATIONS_WARNING = (
    "operations times a constant: memory, data movement and peripherals, which dominate on real "
    "chips, are left out; do not compare with the estimate of the chip"
)


class Operations(NamedTuple):
    """Operations of one inference, and of an ANN of the same layers."""

    macs: int
    """Multiply-accumulates: the first layer on analog frames, whatever the pixels are."""
    acs: int
    """Accumulates: one for every active pair and output channel elsewhere, whatever a pool
    summed up; one for every spike where neurons spike several times."""
    ann_macs: int

    def energy_pj(self, arithmetic: Arithmetic) -> tuple[float, float]:
        """Of this inference and of the ANN."""
        ours = self.macs * arithmetic.mac_pj + self.acs * arithmetic.ac_pj
        return ours, self.ann_macs * arithmetic.mac_pj


def operations(
    layers: Sequence[Synaptic], encoding: Encoding, active_pairs: Sequence[Counts] | Counts | Floats
) -> Operations:
    """Operations of a run with ``active_pairs [t, L]``."""
    channels = np.array([layer.fan_out for layer in layers])
    dense = [layer.macs for layer in layers]
    macs, acs = 0, 0.0
    for t, pairs in enumerate(active_pairs, start=1):
        paid = np.asarray(pairs, float) * channels
        analog = encoding.analog(t)
        macs += dense[0] if analog else 0
        acs += float(paid[1 if analog else 0 :].sum())
    return Operations(macs, round(acs), sum(dense))
