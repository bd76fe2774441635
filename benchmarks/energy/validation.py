"""Published figures, computed anew from layer shapes by the code that serves.

    python -m benchmarks.energy.validation [--write]

``--write`` puts the table into docs/ENERGY.md. Figures without a tolerance are those of another
simulator, and DT-SNN's with inputs as sparse as spikes are; there the deviation is the result.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.energy.published import CLASSES, spikesim_vgg9, vgg9, vgg16
from spikeserve.models.encoding import Encoding
from spikeserve.models.energy.baselines import ann_baseline
from spikeserve.models.energy.chip import Chip
from spikeserve.models.energy.hardware import DIGITAL_PERIPHERALS, load_profile
from spikeserve.models.layers import Synaptic

DOCUMENT = Path("docs/ENERGY.md")
BEGIN, END = "<!-- validation: make energy-validation -->", "<!-- end of validation -->"
MICRO = 1e-6
TIMESTEPS = 8
ACTIVITY = 0.15

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """A published figure and ours; ``tolerance`` None where it need not be met."""

    key: str
    what: str
    published: float
    ours: float | tuple[float, float]
    """A range where the publication leaves something open."""
    tolerance: float | None
    """Largest relative deviation; of a range, 0: the published figure must lie inside."""
    unit: str = ""

    @property
    def deviation(self) -> float:
        """Relative, to the nearest end of a range."""
        low, high = self.ours if isinstance(self.ours, tuple) else (self.ours, self.ours)
        nearest = min(max(self.published, low), high)
        return nearest / self.published - 1

    @property
    def met(self) -> bool:
        return self.tolerance is None or abs(self.deviation) <= self.tolerance


def chip_of(layers: Sequence[Synaptic], profile: str, classes: int = CLASSES) -> Chip:
    """Layers with 4-bit weights on a shipped profile, every frame alike."""
    encoding = Encoding("direct", TIMESTEPS)
    return Chip(load_profile(profile), tuple(layers), 4, encoding, classes)


def full_rows(chip: Chip) -> Floats:
    """Active pairs ``[T, L]`` that drive every row of every PE."""
    return np.tile(np.array(chip.mapping.all_rows, float), (TIMESTEPS, 1))


def active_inputs(chip: Chip, share: float) -> Floats:
    """Active pairs ``[T, L]`` of a share of inputs, padding counted, all pixels active."""
    pairs = np.array([layer.weight_shape[0] * layer.positions for layer in chip.layers], float)
    pairs[1:] *= share
    return np.tile(pairs, (TIMESTEPS, 1))


def energies(chip: Chip, pairs: Floats) -> Floats:
    """Energy in pJ until the end of every timestep, ``[T]``."""
    totals: Floats = chip.breakdown(pairs).sum(axis=1).cumsum()
    return totals


def share(chip: Chip, pairs: Floats, names: Sequence[str]) -> float:
    """Of the energy of one timestep."""
    parts = chip.breakdown(pairs)[0]
    return float(sum(parts[chip.components.index(name)] for name in names) / parts.sum())


def edp(chip: Chip, pairs: Floats) -> Floats:
    """Energy-delay product in pJ ns until the end of every timestep, ``[T]``."""
    return energies(chip, pairs) * chip.latency_ns


def edp_ratios(chip: Chip, pairs: Floats, average: float, timesteps: int) -> tuple[float, float]:
    """Least and largest mean EDP against static T over all exit histograms with this average.

    The extremes of a linear function over histograms of a given mean lie on two timesteps.
    """
    products = edp(chip, pairs)[:timesteps] / edp(chip, pairs)[timesteps - 1]
    found = []
    for early, late in combinations_with_replacement(range(1, timesteps + 1), 2):
        if early <= average <= late and early < late:
            weight = (average - early) / (late - early)
            found.append((1 - weight) * products[early - 1] + weight * products[late - 1])
    return float(min(found)), float(max(found))


def figures() -> Iterator[Figure]:
    """Every figure; docs/ENERGY.md says where each was published."""
    tool = chip_of(spikesim_vgg9(), "spikesim-ela-65nm")
    five = energies(tool, full_rows(tool))[4]
    yield Figure("V1", "SpikeSim's VGG-9, T = 5 (port)", 15.906934026240, five * MICRO, 1e-9, "µJ")

    chip = chip_of(vgg16(), "dtsnn-calibrated-65nm")
    dense, sparse = full_rows(chip), active_inputs(chip, ACTIVITY)
    for label, pairs, close in (("dense", dense, True), ("15 % active", sparse, False)):
        e, product = energies(chip, pairs), edp(chip, pairs)
        digital = 100 * share(chip, pairs, DIGITAL_PERIPHERALS)
        analog = 100 * share(chip, pairs, ("crossbar", "adc"))
        for key, what, published, ours, tolerance, unit in (
            ("V2", "digital peripherals", 45, digital, 0.02, "%"),
            ("V2", "crossbar and ADC", 25, analog, 0.15, "%"),
            ("V3a", "E(8) / E(1)", 4.9, e[7] / e[0], 0.02, ""),
            ("V3c", "EDP(4) / EDP(1)", 10.4, product[3] / product[0], 0.03, ""),
        ):
            name = f"{what}, {label}"
            yield Figure(key, name, published, ours, tolerance if close else None, unit)
    ratio = chip.latency_ns[7] / chip.latency_ns[0]
    yield Figure("V3b", "L(8) / L(1) (by construction)", 8, ratio, 1e-12)

    for average, published_ratio in ((1.46, 0.20), (1.27, 0.16), (2.14, 0.394)):
        found = edp_ratios(chip, dense, average, 4)
        name = f"EDP against T = 4 at {average} timesteps, any histogram, dense"
        yield Figure("V4", name, published_ratio, found, 0.0)

    nine = chip_of(vgg9(), "dtsnn-calibrated-65nm")
    one = energies(nine, active_inputs(nine, ACTIVITY))[0]
    yield Figure("V5", "NeuroSim, VGG-9, a timestep, 15 % active", 6.36, one * MICRO, None, "µJ")
    one = energies(chip, sparse)[0]
    yield Figure("V5", "NeuroSim, VGG-16, a timestep, 15 % active", 6.72, one * MICRO, None, "µJ")

    for active, published_ratio in ((0.02, 0.953), (1.0, 1.216)):
        ratio = energies(chip, active_inputs(chip, active))[0] / one
        name = f"NeuroSim, a timestep with {active:.0%} active instead of 15 %"
        yield Figure("V6", name, 100 * (published_ratio - 1), 100 * (ratio - 1), None, "%")

    cycles = sum(tool.mapping.cycles)
    cycle = energies(tool, full_rows(tool))[0] / cycles
    yield Figure("V7", "one dense PE cycle (port)", 828.486, cycle, 1e-6, "pJ")


def context() -> Iterator[str]:
    """What users compare: VGG-16 by timesteps, and its ANN on the same chip."""
    chip = chip_of(vgg16(), "dtsnn-calibrated-65nm")
    sparse = active_inputs(chip, ACTIVITY)
    e = energies(chip, sparse)
    runs = ", ".join(
        f"T = {t} {e[t - 1] * MICRO:.2f} µJ and {chip.latency_ns[t - 1] / 1000:.0f} µs"
        for t in (1, 2, 4)
    )
    ann = ann_baseline(chip, 3)
    yield (
        f"VGG-16, 15 % of inputs active: {runs}; the ANN of the same layers with 3-bit "
        f"activations {ann.energy_pj * MICRO:.2f} µJ."
    )


def table() -> str:
    """The figures in Markdown."""
    lines = [
        "| # | figure | published, or the tool's | ours | deviation | |",
        "|---|---|---|---|---|---|",
    ]
    for one in figures():
        unit = f" {one.unit}" if one.unit else ""
        lines.append(
            f"| {one.key} | {one.what} | {one.published:.8g}{unit} | {_ours(one)}{unit} | "
            f"{_deviation(one)} | {_verdict(one)} |"
        )
    return "\n".join([*lines, "", *context()])


def _ours(one: Figure) -> str:
    if isinstance(one.ours, tuple):
        return f"{one.ours[0]:.3f}…{one.ours[1]:.3f}"
    exact = one.tolerance is not None and one.tolerance < 1e-3
    return f"{one.ours:.8g}" if exact else f"{one.ours:.4g}"


def _verdict(one: Figure) -> str:
    if one.tolerance is None:
        return "reported"
    verdict = "met" if one.met else "**missed**"
    return f"{verdict}, ≤ {100 * one.tolerance:g} %" if one.tolerance else verdict


def _deviation(one: Figure) -> str:
    if isinstance(one.ours, tuple) and one.deviation == 0:
        return "inside"
    if abs(one.deviation) < 1e-12:  # float64 in another order
        return "0"
    return f"{one.deviation:+.0e}" if abs(one.deviation) < 1e-4 else f"{one.deviation:+.1%}"


def document() -> str:
    """docs/ENERGY.md with the table as it is now."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def main() -> int:
    print(table())
    if "--write" in sys.argv[1:]:
        DOCUMENT.write_text(document())
    return 0 if all(one.met for one in figures()) else 1


if __name__ == "__main__":
    sys.exit(main())
