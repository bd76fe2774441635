"""The energy estimate of one inference on an in-memory-computing chip: what answers carry.

Affine in what a row did: its driven cells, which it counts exactly, and its timesteps. All else
is computed once a bundle, so that a row costs microseconds, and the same equation takes numbers
or arrays over rows. These are estimates of a chip that was not built: absolute values are good
to about a factor of two, ratios are tighter. ``docs/ENERGY.md`` has the model on one page.

Where neurons spike several times a timestep, or inputs are counts of events, every spike is an
active pair of its own and drives its cells; cycles and latency are those of one presentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import mul
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from spikeserve.models.energy.baselines import ann_baseline, fair_bits
from spikeserve.models.energy.chip import Chip, Counts, Floats
from spikeserve.models.energy.hardware import HardwareProfile
from spikeserve.models.energy.interval import intervals
from spikeserve.models.manifest import Manifest

Pairs = Sequence[Counts] | Counts
"""``[t, L]``, in one array or one a timestep."""
Number = TypeVar("Number", float, Floats)
"""Of one row, or of many ``[N]``."""


class EnergyEstimate(NamedTuple, Generic[Number]):
    """One inference on one chip."""

    total_pj: Number
    interval_pj: tuple[Number, Number]
    """5th to 95th percentile, the chip's constants anywhere in their ranges."""
    static_pj: Number
    """The same image run to the model's last timestep, skipped steps taken as average ones."""
    saved_ratio: Number
    """Against ``static_pj``."""
    saved_interval: tuple[Number, Number]
    ann_pj: float
    """An ANN of the same layers on the same chip, with ``ann_bits`` for its activations."""
    ann_bits: int
    latency_ns: Number
    """Layers one after the other."""
    pipelined_latency_ns: Number
    """The lower bound: all layers at work at once."""
    edp_pj_ns: Number
    profile: str
    in_domain: bool


class ExitFigures(NamedTuple, Generic[Number]):
    """What every run of so many timesteps has in common."""

    fixed_pj: Number
    skipped_pj: Number
    low: Number
    high: Number
    saved_low: Number
    left_high: Number
    latency_ns: Number
    pipelined_latency_ns: Number


class EnergyModel:
    """One bundle on one chip."""

    def __init__(self, manifest: Manifest, profile: HardwareProfile) -> None:
        network = manifest.network
        self.manifest = manifest
        self.profile = profile
        self.chip = chip = Chip(
            profile, network.synaptic, manifest.weight_bits, manifest.encoding, network.classes
        )
        self.average_parts_pj = chip.breakdown(np.array(manifest.exits.mean_active_pairs))
        """Energy of the average held-out row by timestep and component, ``[T, C]``."""
        self._average_run_pj = self.average_parts_pj.sum(axis=1).cumsum()
        spreads = [*(part.spread for part in profile.components.values()), (1.0, 1.0)]  # exit
        self.intervals = intervals(np.array(spreads), self.average_parts_pj.cumsum(axis=0))
        """Multipliers of totals, and of what they save of a static run, after every timestep."""
        self.domain_notes = tuple(_domain_notes(manifest, profile))
        """Why estimates lie outside what the profile was validated for; empty if inside."""
        parts = profile.components.values()
        self._cell_pj = sum(part.energy_pj for part in parts if part.per == "active_cell")
        self._driven: list[list[int]] = chip.driven_cells.tolist()
        self._exits = self._tables()
        most = manifest.timesteps * max(lif.max_spikes for lif in network.lifs)
        self.fair_bits = fair_bits(most)
        """Activation bits of the ANN that answers name."""
        self._ann = ann_baseline(chip, self.fair_bits)
        self._in_domain = not self.domain_notes

    def _tables(self) -> tuple[ExitFigures[float], ...]:
        chip, average = self.chip, self._average_run_pj
        fixed = chip.breakdown(np.zeros_like(chip.driven_cells)).sum(axis=1).cumsum()
        totals, saved = self.intervals
        columns = (
            fixed, average[-1] - average, *totals, *saved,
            chip.latency_ns, chip.pipelined_latency_ns,
        )  # fmt: skip
        return tuple(ExitFigures(*row) for row in np.array(columns).T.tolist())

    def estimate(self, active_pairs: Pairs) -> EnergyEstimate[float]:
        """The estimate for one row that ran t timesteps with ``active_pairs [t, L]``."""
        # A few dozen integers: Python adds them in the time that numpy takes to begin, and numpy
        # would hand the interpreter to another thread, which costs a server more than that.
        cells = sum(
            sum(map(mul, pairs.tolist(), driven))
            for pairs, driven in zip(active_pairs, self._driven, strict=False)
        )
        return self._figures(float(cells), self._exits[len(active_pairs) - 1])

    def estimates(self, active_pairs: Counts, timesteps: Counts) -> EnergyEstimate[Floats]:
        """Those of many rows that ran ``timesteps [N]`` of full runs ``active_pairs [T, N, L]``."""
        driven = self.chip.driven_cells[:, :, None].astype(float)
        cells = (active_pairs @ driven)[:, :, 0].cumsum(axis=0)
        own = cells[timesteps - 1, np.arange(len(timesteps))]
        return self._figures(own, ExitFigures(*np.array(self._exits).T[:, timesteps - 1]))

    def _figures(self, cells: Number, known: ExitFigures[Number]) -> EnergyEstimate[Number]:
        total = self._cell_pj * cells + known.fixed_pj
        static = total + known.skipped_pj
        saved = known.skipped_pj / static
        return EnergyEstimate(
            total,
            (total * known.low, total * known.high),
            static,
            saved,
            (saved * known.saved_low, 1 - (1 - saved) * known.left_high),
            self._ann.energy_pj,
            self._ann.bits,
            known.latency_ns,
            known.pipelined_latency_ns,
            total * known.latency_ns,
            self.profile.name,
            self._in_domain,
        )

    @property
    def range_pj(self) -> tuple[float, float]:
        """The least that an inference can take, one timestep without an event, and twice what the
        average held-out row takes in a full run: busy rows are found below that."""
        return self._exits[0].fixed_pj, 2 * float(self._average_run_pj[-1])

    def average_pj(self, average_timesteps: float) -> float:
        """Energy of rows of average activity that take so many timesteps on average."""
        steps = range(1, self.manifest.timesteps + 1)
        return float(np.interp(average_timesteps, steps, self._average_run_pj))


def _domain_notes(manifest: Manifest, profile: HardwareProfile) -> Iterator[str]:
    validated = profile.validated
    if validated is None:
        yield f"{profile.name} says nothing of what it was validated with"
        return
    network = manifest.network
    bits = max(layer.weight_bits or manifest.weight_bits for layer in network.matrices)
    if bits > validated.max_weight_bits:
        yield (
            f"{bits}-bit weights: the profile was validated with at most "
            f"{validated.max_weight_bits}"
        )
    if manifest.timesteps > validated.max_timesteps:
        yield (
            f"{manifest.timesteps} timesteps: the profile was validated with at most "
            f"{validated.max_timesteps}"
        )
    if any(lif.max_spikes > 1 for lif in network.lifs):
        yield (
            "neurons that spike several times a timestep: the profile was validated with one spike "
            "at most"
        )
    if not manifest.encoding.takes_images:
        yield "inputs that are events: the profile was validated with images"
