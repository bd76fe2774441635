"""Hardware profiles: the constants of an in-memory-computing chip, each with its source.

Energies are in pJ, times in ns. ``X`` is the crossbar size; a *cycle* is one PE cycle:
one output position of one crossbar column group, all rows driven at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ELA = "SpikeSim ela_spikesim.py (MIT), arXiv 2210.12899"


@dataclass(frozen=True)
class Component:
    """What one part of the chip costs.

    ``per`` says what ``energy_pj`` multiplies: an active (input row, output position)
    pair of one crossbar column group, or a PE cycle. ``once`` charges the part once per
    inference instead of at every timestep. ``spread`` is the factor range the constant is
    believed within.
    """

    name: str
    energy_pj: float
    per: Literal["active_pair", "cycle"]
    once: bool
    spread: tuple[float, float]
    source: str


@dataclass(frozen=True)
class HardwareProfile:
    """One chip; see ``docs/ENERGY.md`` for how the constants enter the formula."""

    name: str
    crossbar_size: int
    crossbars_per_pe: int
    cell_bits: int
    cycle_ns: float
    components: tuple[Component, ...]
    exit_pj_per_class: float
    """Softmax, logarithm and comparison per class and timestep: 2*10 + 3*0.05 + 2*0.2."""
    max_weight_bits: int
    max_timesteps: int
    source: str


X = 64

DTSNN_CALIBRATED_65NM = HardwareProfile(
    name="dtsnn-calibrated-65nm",
    crossbar_size=X,
    crossbars_per_pe=9,
    cell_bits=4,
    cycle_ns=104.0,
    components=(
        Component("crossbar", 0.0034457 * X, "active_pair", False, (0.8, 3.0), ELA),
        Component("adc", 2.03084 * X, "cycle", False, (0.07, 1.72), ELA),
        Component("htree", 157.12, "cycle", False, (0.5, 2.0), ELA),
        Component(
            "noc", 81.94, "cycle", False, (0.5, 2.0), "9 % share of a PE cycle (from memory)"
        ),
        Component("lif", 5.096, "cycle", False, (0.5, 8.0), ELA),
        Component("mux", 0.094245 * X, "cycle", True, (0.5, 2.0), ELA),
        Component("tile_buffer", 397.0, "cycle", True, (0.5, 2.0), ELA),
        Component("mem_fetch", 4.64, "cycle", True, (0.5, 2.0), ELA),
        Component("temp", 1.6, "cycle", True, (0.5, 2.0), ELA),
        Component("diff", 1.472e-4, "cycle", True, (0.5, 2.0), ELA),
    ),
    exit_pj_per_class=20.55,
    max_weight_bits=4,
    max_timesteps=8,
    source=(
        "SpikeSim constants; digital peripherals charged once per inference, calibrated to "
        "DT-SNN's E(8)/E(1) = 4.9 (arXiv 2305.17346): empirical, its physical cause unpublished"
    ),
)

PROFILES = {profile.name: profile for profile in (DTSNN_CALIBRATED_65NM,)}
