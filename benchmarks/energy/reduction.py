"""What early exit saves on the shipped bundles, over every test image of their data sets.

Every image runs all T timesteps once; its energy, delay and their product are those of the
timestep at which its bundle's default threshold lets it go, against those of its own full run.
Averages are means of per-image products, as DT-SNN's published cuts are.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from spikeserve.models.bundle import load_bundle
from spikeserve.models.energy.baselines import operations
from spikeserve.models.energy.estimate import EnergyModel
from spikeserve.models.energy.hardware import PROFILES, load_profile
from spikeserve.models.engines.event import EventEngine
from spikeserve.models.exits import select_exits
from spikeserve.models.inference import trace
from spikeserve.training.data import Split

PUBLISHED = (
    "DT-SNN, VGG-16: 80 % at 1.46 timesteps",
    "DT-SNN, ResNet-19: 84 % at 1.27 timesteps",
)


@dataclass(frozen=True)
class Reduction:
    """One bundle on one chip, against its own static run."""

    bundle: str
    profile: str
    accuracy: float
    static_accuracy: float
    average_timesteps: float
    exit_histogram: tuple[int, ...]
    edp_shares: tuple[float, ...]
    """Of all EDP spent, by the timestep at which images left."""
    energy_pj: float
    static_pj: float
    edp_pj_ns: float
    static_edp_pj_ns: float
    ann_bits: int
    ann_pj: float
    interval: tuple[float, float]
    in_domain: bool
    macs: int
    acs: float
    ann_macs: int

    @property
    def energy_cut(self) -> float:
        return 1 - self.energy_pj / self.static_pj

    @property
    def edp_cut(self) -> float:
        return 1 - self.edp_pj_ns / self.static_edp_pj_ns


def reductions(folder: Path, test: Split) -> list[Reduction]:
    """A bundle on every shipped profile."""
    bundle = load_bundle(folder)
    manifest = bundle.manifest
    run = trace(EventEngine(bundle.program), manifest.encoding, test.images)
    exits = select_exits(run.entropies(manifest.readout), manifest.policy())
    rows = np.arange(len(exits))
    right = run.predictions[exits - 1, rows] == test.labels
    spent = [
        operations(manifest.network.synaptic, manifest.encoding, run.active_pairs[:t, row])
        for row, t in enumerate(exits)
    ]
    results = []
    for path in sorted(PROFILES.glob("*.toml")):
        model = EnergyModel(manifest, load_profile(path.stem))
        early = model.estimates(run.active_pairs, exits)
        static = model.estimates(run.active_pairs, np.full_like(exits, manifest.timesteps))
        product = early.edp_pj_ns
        steps = range(1, manifest.timesteps + 1)
        results.append(
            Reduction(
                bundle=f"{manifest.name} {manifest.version}",
                profile=model.profile.name,
                accuracy=float(right.mean()),
                static_accuracy=float((run.predictions[-1] == test.labels).mean()),
                average_timesteps=float(exits.mean()),
                exit_histogram=tuple(int((exits == t).sum()) for t in steps),
                edp_shares=tuple(float(product[exits == t].sum() / product.sum()) for t in steps),
                energy_pj=float(early.total_pj.mean()),
                static_pj=float(static.total_pj.mean()),
                edp_pj_ns=float(product.mean()),
                static_edp_pj_ns=float(static.edp_pj_ns.mean()),
                ann_bits=early.ann_bits,
                ann_pj=early.ann_pj,
                interval=(
                    float(early.interval_pj[0].mean()),
                    float(early.interval_pj[1].mean()),
                ),
                in_domain=early.in_domain,
                macs=spent[0].macs,
                acs=float(np.mean([one.acs for one in spent])),
                ann_macs=spent[0].ann_macs,
            )
        )
    return results


def reduction_table(results: list[Reduction]) -> list[str]:
    """Markdown, one row a bundle and profile."""
    lines = [
        "| bundle | profile | accuracy (static) | ⌀ t | images by timestep | EDP by timestep "
        "| µJ (static) | energy cut | EDP cut |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in results:
        lines.append(
            f"| {one.bundle} | {one.profile} | {one.accuracy:.2%} ({one.static_accuracy:.2%}) | "
            f"{one.average_timesteps:.3f} | {' / '.join(f'{n:,}' for n in one.exit_histogram)} | "
            f"{' / '.join(f'{share:.0%}' for share in one.edp_shares)} | "
            f"{one.energy_pj / 1e6:.2f} ({one.static_pj / 1e6:.2f}) | {one.energy_cut:.1%} | "
            f"**{one.edp_cut:.1%}** |"
        )
    return [*lines, "", *(f"- {published}." for published in PUBLISHED)]


def as_document(one: Reduction) -> dict[str, object]:
    return {**asdict(one), "energy_cut": one.energy_cut, "edp_cut": one.edp_cut}
