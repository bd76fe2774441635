"""Energy, latency and EDP of one inference, from layer shapes and measured active pairs.

    R = c_in k k    V = h_out w_out    n_r = ceil(R / 9X)    n_c = ceil(c_out n_cell / X)
    N = n_r n_c V                      PE cycles of a layer per timestep
    E = sum over layers:  per timestep  e_crossbar n_c A[t] + (adc + htree + noc + lif) N
                          once          (mux + buffers) N
        + the exit module per timestep
    L = timesteps * sum over layers of V * 104 ns           EDP = E * L

``A[t]`` counts (active input row, output position) pairs of that very row. These are
estimates of a chip that was not built: absolute values are good to about a factor of two,
ratios are tighter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.bundle import Manifest
from models.energy.hardware import Component, HardwareProfile

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Pairs = Sequence[Counts] | Counts | Floats
"""``[t, L]``, in one array or one a timestep."""

INTERVAL = (5.0, 95.0)  # percentiles
INTERVAL_SAMPLES = 4096


class EnergyEstimate(NamedTuple):
    """One inference on one chip."""

    total_pj: float
    interval_pj: tuple[float, float]
    static_pj: float
    """The same image run to the model's last timestep, skipped steps taken as average ones."""
    saved_ratio: float
    latency_ns: float
    edp_pj_ns: float
    profile: str
    in_domain: bool


@dataclass(frozen=True)
class EnergyModel:
    """One bundle mapped onto one chip."""

    manifest: Manifest
    profile: HardwareProfile

    @cached_property
    def _column_groups(self) -> list[float]:
        """Crossbar column groups ``n_c`` per layer, ``[L]``."""
        cells = math.ceil(self.manifest.weight_bits / self.profile.cell_bits)
        size = self.profile.crossbar_size
        return [
            float(math.ceil(layer.out_channels * cells / size))
            for layer in self.manifest.network.synaptic
        ]

    @cached_property
    def _positions(self) -> Floats:
        """Output positions ``V`` per layer, ``[L]``."""
        return np.array([layer.positions for layer in self.manifest.network.synaptic], float)

    @cached_property
    def _cycles(self) -> float:
        """PE cycles ``N`` of one timestep, all layers."""
        rows = self.profile.crossbar_size * self.profile.crossbars_per_pe
        groups = [
            math.ceil(layer.weight_shape[0] / rows) for layer in self.manifest.network.synaptic
        ]
        return float((np.array(groups) * self._column_groups * self._positions).sum())

    @cached_property
    def _prices(self) -> tuple[tuple[str, float, float, float], ...]:
        """Per component: name, pJ per driven pair, per timestep and per inference."""

        def price(part: Component) -> tuple[str, float, float, float]:
            if part.per == "active_pair":
                return part.name, part.energy_pj, 0.0, 0.0
            cycles_pj = part.energy_pj * self._cycles
            return (part.name, 0.0, 0.0, cycles_pj) if part.once else (part.name, 0.0, cycles_pj, 0)

        exit_pj = self.profile.exit_pj_per_class * self.manifest.network.classes
        return (*map(price, self.profile.components), ("exit", 0.0, exit_pj, 0.0))

    def components_pj(self, active_pairs: Pairs) -> dict[str, float]:
        """Energy by component of a run with ``active_pairs [t, L]``; they sum to the total."""
        timesteps, driven = len(active_pairs), self._driven(active_pairs)
        return {
            name: per_pair * driven + per_timestep * timesteps + once
            for name, per_pair, per_timestep, once in self._prices
        }

    @cached_property
    def _total_price(self) -> tuple[float, float, float]:
        """All components together: pJ per driven pair, per timestep and per inference."""
        _, per_pair, per_timestep, once = zip(*self._prices, strict=True)
        return sum(per_pair), sum(per_timestep), sum(once)

    def _driven(self, active_pairs: Pairs) -> float:
        """Active pairs, each counted for every column group that it drives."""
        # A few dozen numbers: Python adds them in the time that numpy takes to begin, and numpy
        # would hand the interpreter to another thread, which costs a server more than that.
        driven: float = sum(
            pairs * count
            for timestep in active_pairs
            for pairs, count in zip(timestep.tolist(), self._column_groups, strict=True)
        )
        return driven

    @cached_property
    def _average_run_pj(self) -> tuple[float, ...]:
        """Energy of an average row that ran t timesteps, t in 1…T, ``[T]``."""
        average = np.array(self.manifest.exits.mean_active_pairs)
        return tuple(
            sum(self.components_pj(average[:t]).values()) for t in range(1, len(average) + 1)
        )

    def average_pj(self, average_timesteps: float) -> float:
        """Energy of rows of average activity that take so many timesteps on average."""
        steps = range(1, self.manifest.timesteps + 1)
        return float(np.interp(average_timesteps, steps, self._average_run_pj))

    @cached_property
    def _interval_factors(self) -> tuple[tuple[float, float], ...]:
        """Low and high multipliers of the total after every timestep, ``[T, 2]``.

        Component constants vary independently, log-uniform in their spreads; the draw is
        seeded, so the same bundle always has the same interval.
        """
        rng = np.random.default_rng(0)
        spreads = np.log([component.spread for component in self.profile.components])
        factors = np.exp(
            rng.uniform(spreads[:, 0], spreads[:, 1], (INTERVAL_SAMPLES, len(spreads)))
        )
        factors = np.concatenate([factors, np.ones((INTERVAL_SAMPLES, 1))], axis=1)  # exit
        average = np.array(self.manifest.exits.mean_active_pairs)
        bounds = []
        for t in range(1, self.manifest.timesteps + 1):
            parts = np.array(list(self.components_pj(average[:t]).values()))
            low, high = np.percentile(factors @ parts / parts.sum(), INTERVAL)
            bounds.append((float(low), float(high)))
        return tuple(bounds)

    @cached_property
    def domain_notes(self) -> tuple[str, ...]:
        """Why the estimate lies outside what the profile was validated for; empty if inside."""
        notes = []
        profile, manifest = self.profile, self.manifest
        if manifest.weight_bits > profile.max_weight_bits:
            notes.append(
                f"{manifest.weight_bits}-bit weights: the profile was validated with at most "
                f"{profile.max_weight_bits} bits in one cell"
            )
        if manifest.timesteps > profile.max_timesteps:
            notes.append(f"more than {profile.max_timesteps} timesteps")
        return tuple(notes)

    def latency_ns(self, timesteps: int) -> float:
        """Layers one after the other, one output position a cycle."""
        return timesteps * self._step_ns

    @cached_property
    def _step_ns(self) -> float:
        return float(self._positions.sum()) * self.profile.cycle_ns

    def estimate(self, active_pairs: Pairs) -> EnergyEstimate:
        """The estimate for one row that ran t timesteps with ``active_pairs [t, L]``."""
        timesteps = len(active_pairs)
        per_pair, per_timestep, once = self._total_price
        total = per_pair * self._driven(active_pairs) + per_timestep * timesteps + once
        static = total + (self._average_run_pj[-1] - self._average_run_pj[timesteps - 1])
        low, high = self._interval_factors[timesteps - 1]
        latency = self.latency_ns(timesteps)
        return EnergyEstimate(
            total_pj=total,
            interval_pj=(total * low, total * high),
            static_pj=static,
            saved_ratio=1 - total / static,
            latency_ns=latency,
            edp_pj_ns=total * latency,
            profile=self.profile.name,
            in_domain=not self.domain_notes,
        )
