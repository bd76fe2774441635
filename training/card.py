"""The model card, generated from a bundle's manifest and nothing else."""

from __future__ import annotations

from collections.abc import Iterable

from spikeserve.models.manifest import ExitPoint, Manifest
from spikeserve.training.data import DATASETS
from spikeserve.training.evaluate import accuracy_interval

BAR = 40
ENOUGH = 5_000
"""Test images of which the accuracy is known to a percent or so."""


def card(manifest: Manifest) -> str:
    """``CARD.md`` of a bundle."""
    network, exits = manifest.network, manifest.exits
    provenance, evaluation = manifest.training, manifest.evaluation
    lines = [
        f"# {manifest.name} {manifest.version}",
        "",
        manifest.description,
        "",
        f"Generated from `manifest.json` by `spiketrain card`; created {manifest.created}.",
        "",
        "| | |",
        "|---|---|",
        f"| input | {' × '.join(map(str, network.input_shape))} uint8, "
        f"{manifest.encoding.kind} encoding, T = {manifest.timesteps} |",
        f"| network | {len(network.synaptic)} synaptic layers, {network.parameters:,} weights of "
        f"{manifest.weight_bits} bits, {network.neurons:,} neurons, "
        f"{network.macs / 1e6:.1f} M MAC per dense timestep |",
        f"| neurons | {_neurons(manifest)} |",
        f"| synaptic operations per dense MAC | "
        f"{', '.join(f'{share:.3f}' for share in operations_per_mac(manifest))} by timestep, "
        "behind the first layer |",
        f"| labels | {', '.join(manifest.labels)} |",
        f"| default entropy threshold | {exits.default_entropy_threshold} (normalised, 0…1"
        + (f"; of logits times {exits.sharpness:g}) |" if exits.sharpness != 1 else ") |"),
        f"| temperatures by timestep | {', '.join(f'{x:.3f}' for x in exits.temperatures)} |",
        "",
    ]
    if evaluation is None:
        lines += ["Not yet evaluated on a test set.", ""]
    else:
        default = evaluation.default
        steps = range(1, manifest.timesteps + 1)
        lines += [
            f"## {evaluation.dataset} test set, {evaluation.images:,} images",
            "",
            "Measured on the served integer program with the "
            f"`{evaluation.engine}` engine; thresholds and temperatures come from held-out "
            "training images.",
            "",
            f"- static T = {manifest.timesteps}: "
            f"**{100 * evaluation.accuracy_by_timestep[-1]:.2f} %**",
            f"- default threshold: **{100 * default.accuracy:.2f} % at "
            f"{default.average_timesteps:.3f} average timesteps**, {_micro(default.energy_pj)} µJ",
            *_interval(default.accuracy, evaluation.images),
            f"- {evaluation.mean_spike_rate(network):.4f} spikes per hidden neuron and step",
            "",
            "| timestep | accuracy if all stop here | images that stop here by default | |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {t} | {100 * accuracy:.2f} % | {count:,} | "
            f"{'█' * round(BAR * count / evaluation.images)} |"
            for t, accuracy, count in zip(
                steps, evaluation.accuracy_by_timestep, evaluation.exit_histogram, strict=True
            )
        ]
        lines += ["", *_table(evaluation.table), ""]
        lines += [
            "Spikes per neuron and step, by timestep and hidden layer:",
            "",
            "| timestep | " + " | ".join(lif.name for lif in network.lifs) + " |",
            "|---" * (len(network.lifs) + 1) + "|",
        ]
        lines += [
            f"| {t} | " + " | ".join(f"{rate:.4f}" for rate in row) + " |"
            for t, row in zip(steps, evaluation.spikes_per_neuron_and_step, strict=True)
        ]
        lines.append("")
    lines += [
        f"## Calibration, {provenance.calibration_images:,} held-out training images",
        "",
        *_table(exits.table),
        "",
        "## Provenance",
        "",
        f"- recipe `{provenance.recipe}` (sha256 {provenance.recipe_sha256[:12]}…), "
        f"seed {provenance.seed}, {provenance.training_images:,} training images",
        f"- data: {provenance.dataset}{_citation(provenance.dataset)}",
        f"- hardware: {provenance.hardware}"
        + (
            f", {provenance.training_seconds / 60:.0f} minutes"
            if provenance.training_seconds
            else ""
        ),
        *(
            f"- began with weights of `{earlier.recipe}`, on {earlier.dataset}"
            + (
                f": {earlier.training_seconds / 60:.0f} minutes more"
                if earlier.training_seconds
                else ""
            )
            for earlier in provenance.pretraining
        ),
        "- software: " + ", ".join(f"{k} {v}" for k, v in provenance.software.items()),
        "",
        "Energy is an estimate for a 65 nm in-memory-computing chip that was not built; absolute "
        "values hold within about a factor of two, ratios are tighter (docs/ENERGY.md).",
        "",
    ]
    return "\n".join(lines)


def _interval(accuracy: float, images: int) -> list[str]:
    """How far chance goes, where it goes far."""
    if images >= ENOUGH:
        return []
    low, high = accuracy_interval(accuracy, images)
    return [
        f"- of so few images: with 95 % confidence between {100 * low:.1f} and {100 * high:.1f} % "
        "on more like them"
    ]


def _citation(title: str) -> str:
    known = {dataset.title: dataset.citation for dataset in DATASETS.values()}
    return f" ({known[title]})" if title in known else ""


def _neurons(manifest: Manifest) -> str:
    lifs = manifest.network.lifs
    leaks = ", ".join(f"{lif.leak_q}/{1 << lif.leak_bits}" for lif in lifs)
    once = "fire at most once" if all(lif.fire_once for lif in lifs) else "may fire repeatedly"
    return f"LIF, {lifs[0].reset} reset, {once}, leaks {leaks}" if lifs else "none"


def operations_per_mac(manifest: Manifest) -> tuple[float, ...]:
    """Synaptic operations for each dense multiply-accumulate behind the first layer, by timestep.

    What event-driven hardware or software pays, of the average held-out image.
    """
    layers = manifest.network.synaptic[1:]
    dense = sum(layer.macs for layer in layers)
    return tuple(
        sum(count * layer.fan_out for count, layer in zip(row[1:], layers, strict=True)) / dense
        for row in manifest.exits.mean_active_pairs
    )


def _micro(energy_pj: float | None) -> str:
    return "–" if energy_pj is None else f"{energy_pj / 1e6:.2f}"


def _table(points: Iterable[ExitPoint]) -> list[str]:
    return [
        "| entropy threshold | accuracy | average timesteps | energy, µJ |",
        "|---|---|---|---|",
        *(
            f"| {point.entropy_threshold:.2f} | {100 * point.accuracy:.2f} % | "
            f"{point.average_timesteps:.3f} | {_micro(point.energy_pj)} |"
            for point in points
        ),
    ]
