"""Everything behind one estimate: parts, timesteps, activity, comparisons, assumptions, sources."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from spikeserve.models.energy.baselines import (
    ANN_BITS,
    ARITHMETICS,
    OPERATIONS_WARNING,
    AnnBaseline,
    ann_baseline,
    operations,
)
from spikeserve.models.energy.chip import EXIT, Chip
from spikeserve.models.energy.estimate import EnergyModel, Pairs
from spikeserve.models.layers import Pool, Shortcut

BIT_SERIAL = 8


@dataclass(frozen=True)
class OperationEnergy:
    """One arithmetic's side view of an inference, without memory or peripherals."""

    arithmetic: str
    energy_pj: float
    ann_pj: float


@dataclass(frozen=True)
class OperationReport:
    """Operations of an inference and of an ANN of the same layers."""

    macs: int
    acs: int
    ann_macs: int
    energies: tuple[OperationEnergy, ...]
    warning: str


@dataclass(frozen=True)
class LayerReport:
    """A layer on the chip, and what one inference drove of it; enough to compute it by hand."""

    name: str
    positions: int
    """Output positions V."""
    row_groups: int
    """PEs over its inputs, n_r."""
    column_groups: int
    """PEs over its outputs, n_c."""
    connections: int
    """Pairs of an input and an output position that sees it; padding has none."""
    active_pairs: tuple[int | float, ...]
    """Those with a non-zero input, by timestep; one for each spike where inputs are counts."""
    activity: tuple[float, ...]
    """Their share of connections, above 1 where inputs count more than one spike on average."""


@dataclass(frozen=True)
class EnergyReport:
    """One inference in detail; components and timesteps both sum to its total."""

    components_pj: dict[str, float]
    timesteps_pj: tuple[float, ...]
    layers: tuple[LayerReport, ...]
    static_latency_ns: float
    static_edp_pj_ns: float
    anns: tuple[AnnBaseline, ...]
    operations: OperationReport
    crossbars: int
    pes: int
    tiles: int
    cycles_per_timestep: int
    domain_notes: tuple[str, ...]
    assumptions: tuple[str, ...]
    sources: dict[str, str]


class Reporter:
    """Makes reports for one bundle on one chip; what they share is computed once."""

    def __init__(self, model: EnergyModel) -> None:
        self._model = model
        self._connections = [layer.connections for layer in model.chip.layers]
        self._anns = tuple(
            ann_baseline(model.chip, bits) for bits in sorted({model.fair_bits, *ANN_BITS})
        )
        self._assumptions = tuple(_assumptions(model))
        self._sources = _sources(model)

    def report(self, active_pairs: Pairs) -> EnergyReport:
        """The report of a row that ran t timesteps with ``active_pairs [t, L]``."""
        model, chip = self._model, self._model.chip
        parts = chip.breakdown(active_pairs)
        static_latency = float(chip.latency_ns[-1])
        return EnergyReport(
            components_pj=dict(zip(chip.components, parts.sum(axis=0).tolist(), strict=True)),
            timesteps_pj=tuple(parts.sum(axis=1).tolist()),
            layers=tuple(self._layers(active_pairs)),
            static_latency_ns=static_latency,
            static_edp_pj_ns=model.estimate(active_pairs).static_pj * static_latency,
            anns=self._anns,
            operations=_operations(chip, active_pairs),
            crossbars=chip.mapping.crossbars,
            pes=chip.mapping.pes,
            tiles=chip.mapping.tiles,
            cycles_per_timestep=sum(chip.mapping.cycles),
            domain_notes=model.domain_notes,
            assumptions=self._assumptions,
            sources=self._sources,
        )

    def _layers(self, active_pairs: Pairs) -> Iterator[LayerReport]:
        chip, mapping = self._model.chip, self._model.chip.mapping
        for k, active in enumerate(np.asarray(active_pairs).T.tolist()):
            possible = self._connections[k]
            yield LayerReport(
                chip.layers[k].name,
                mapping.positions[k],
                mapping.row_groups[k],
                mapping.column_groups[k],
                possible,
                tuple(active),
                tuple(pairs / max(1, possible) for pairs in active),  # none behind padding alone
            )


def _operations(chip: Chip, active_pairs: Pairs) -> OperationReport:
    counted = operations(chip.layers, chip.encoding, active_pairs)
    return OperationReport(
        *counted,
        tuple(
            OperationEnergy(arithmetic.name, *counted.energy_pj(arithmetic))
            for arithmetic in ARITHMETICS
        ),
        OPERATIONS_WARNING,
    )


def _assumptions(model: EnergyModel) -> Iterator[str]:
    profile, network = model.profile, model.manifest.network
    encoding = model.manifest.encoding
    yield (
        "a chip that was not built: absolute energies differ by up to a factor of two from another "
        "simulator's, ratios of timesteps less; energies of single layers are not reliable"
    )
    if profile.pixel_bits < BIT_SERIAL:
        one, full = _bit_serial_excess(model)
        yield (
            f"analog frames take the first layer {profile.pixel_bits} cycle(s); {BIT_SERIAL} "
            f"bit-serial ones would add {one:.0%} to an image that leaves after one timestep and "
            f"{full:.0%} to a full run"
        )
    if encoding.kind == "direct" and model.manifest.timesteps > 1:
        yield (
            "the image enters the first layer anew at every timestep and is charged each time; the "
            "event engine may compute its sums once"
        )
    if not encoding.takes_images:
        yield "events enter as spikes do, without the cycles that pixels take"
    if any(network.counts(not encoding.takes_images)):
        yield (
            "counts: each spike drives its cells, in the cycles and the time of one presentation; "
            "a chip that presents them one after the other takes longer"
        )
    once = [name for name, part in profile.components.items() if part.once]
    if once:
        yield (
            f"{', '.join(once)}: once an inference, calibrated to a published curve; the "
            "physical cause is not published"
        )
    yield "timesteps that were skipped would have cost what they cost on average (held-out images)"
    yield "latency: one output position a cycle; it may be up to four times too low"
    yield "the ANN drives every row of its PEs, used or not, in each of its bit-serial cycles"
    if any(isinstance(layer, Pool) and layer.mode == "sum" for layer in network.layers):
        yield (
            "summed spikes behind an average pool enter the next layer in one cycle, and count as "
            "one accumulate"
        )
    if any(isinstance(layer, Shortcut) for layer in network.layers):
        yield (
            "shortcuts that project count every spike they pool; those that do not add to sums "
            "that are accumulated anyway, for nothing"
        )


def _bit_serial_excess(model: EnergyModel) -> tuple[float, float]:
    """What bit-serial pixels would add to an average image after one timestep, and after T."""
    serial = model.profile.model_copy(update={"pixel_bits": BIT_SERIAL})
    parts, more = model.average_parts_pj, EnergyModel(model.manifest, serial).average_parts_pj
    return float(more[0].sum() / parts[0].sum() - 1), float(more.sum() / parts.sum() - 1)


def _sources(model: EnergyModel) -> dict[str, str]:
    profile = model.profile
    parts = {
        name: f"{part.energy_pj} pJ per {part.per}, {part.spread[0]:g} to {part.spread[1]:g} "
        f"times that: {part.source}"
        for name, part in profile.components.items()
    }
    exits = {EXIT: profile.sources["exit_pj_per_class"]}
    return {"profile": profile.source, **parts, **exits, **profile.sources}
