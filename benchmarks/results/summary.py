"""What the shipped bundles reach, in short: the first section of docs/RESULTS.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from spikeserve.models.bundle import load_manifest
from spikeserve.models.manifest import Manifest
from spikeserve.service.settings import DEFAULT_BUNDLE
from spikeserve.training.card import operations_per_mac

Document = dict[str, Any]


def summary(documents: list[Document], profile: str) -> Iterator[str]:
    """The default bundle at its default threshold and at both ends, then the others.

    Args:
        documents: one a bundle, the default first.
        profile: the hardware profile whose energies are shown.
    """
    default, *others = documents
    manifest = load_manifest(DEFAULT_BUNDLE)
    yield "## In short"
    yield ""
    yield (
        "`models/zoo/early-exit-vgg8-cifar10` is the bundle that is served unless another is "
        f"named. On the {default['images']:,} {default['dataset']} test images:"
    )
    yield ""
    yield from _ends(default, manifest, profile)
    yield ""
    yield _size(default, manifest)
    yield ""
    yield _leaving(default)
    yield ""
    yield (
        "`make verify` posts all test images to a running service and gets these numbers exactly. "
        "The [card](../models/zoo/early-exit-vgg8-cifar10/CARD.md) has the whole table of "
        "thresholds."
    )
    yield ""
    yield "Beside it ship:"
    yield ""
    for one in others:
        yield _other(one, profile)
    yield ""
    yield (
        "Only the default bundle slows down on corrupted images. All were trained on two cores. "
        "They do not reach what papers report of networks two to "
        "thirteen times their size, trained for hundreds of epochs on GPUs; those figures stand "
        "[below](#what-papers-report)."
    )
    yield ""


def _ends(one: Document, manifest: Manifest, profile: str) -> Iterator[str]:
    energy = _energy(one, profile)
    assert manifest.evaluation is not None
    first = manifest.evaluation.table[-1]  # threshold 1: everybody leaves after one timestep
    assert first.energy_pj is not None
    yield "| | accuracy | average timesteps | estimated energy |"
    yield "|---|---|---|---|"
    static = 100 * one["accuracy_by_timestep"][-1]
    yield (
        f"| static, T = {one['timesteps']} | {static:.2f} % | {one['timesteps']} | "
        f"{energy['static_pj'] / 1e6:.2f} µJ |"
    )
    yield (
        f"| default threshold ({one['threshold']:g}) | **{100 * one['accuracy']:.2f} %** | "
        f"**{one['average_timesteps']:.3f}** | **{energy['energy_pj'] / 1e6:.2f} µJ** |"
    )
    yield (
        f"| one timestep | {100 * first.accuracy:.2f} % | {first.average_timesteps:g} | "
        f"{first.energy_pj / 1e6:.2f} µJ |"
    )


def _size(one: Document, manifest: Manifest) -> str:
    first, *later = operations_per_mac(manifest)
    return (
        f"It has {one['parameters'] / 1e6:.2f} M weights of {one['weight_bits']} bits and "
        f"{one['macs'] / 1e6:.0f} M multiply-accumulates (MAC) in a dense timestep. A hidden "
        f"neuron spikes {one['mean_spike_rate']:.3f} times a timestep on average. Behind the first "
        f"layer, the first timestep costs {first:.3f} synaptic operations for each dense MAC, the "
        f"others {min(later):.3f} to {max(later):.3f}."
    )


def _leaving(one: Document) -> str:
    first, second, third, last = one["exit_histogram"]
    accuracies = one["accuracy_by_timestep"]
    gain = 100 * (max(accuracies) - accuracies[0])
    corrupted = [row[-1]["average_timesteps"] for row in one["shift"]["corrupted"].values()]
    foreign = {name: met["average_timesteps"] for name, met in one["shift"]["foreign"].items()}
    shuffled, noise = foreign.pop("its pixels shuffled"), foreign.pop("uniform noise")
    foreign.pop("the test set")
    harder = [*corrupted, *foreign.values()]
    return (
        f"By default {first:,} images leave after the first timestep, {second} after the second, "
        f"{third} after the third, and {last} run to the fourth. The later timesteps add little, "
        f"{gain:.2f} points at best: most of what early exit saves here is work that would not "
        "have changed the answer. Later timesteps are used where images are harder: under noise, "
        "blur and low contrast, on CIFAR-100, on Fashion-MNIST and on images of one colour the "
        f"network takes {min(harder):.1f} to {max(harder):.1f} timesteps on average, but not on "
        f"shuffled pixels or uniform noise ({shuffled:.2f} and {noise:.2f})."
    )


def _other(one: Document, profile: str) -> str:
    energy = _energy(one, profile)
    static = 100 * one["accuracy_by_timestep"][-1]
    return (
        f"- `{one['bundle']}`: {one['dataset']}, weights of {one['weight_bits']} bits, "
        f"{one['macs'] / 1e6:.0f} M MAC; {100 * one['accuracy']:.2f} % at "
        f"{one['average_timesteps']:.3f} average timesteps and {energy['energy_pj'] / 1e6:.2f} µJ "
        f"(static {static:.2f} %, {energy['static_pj'] / 1e6:.2f} µJ)"
        + ("; its weights are what the energy model was made for." if energy["in_domain"] else ".")
    )


def _energy(one: Document, profile: str) -> Document:
    row: Document = next(row for row in one["energy"] if row["profile"] == profile)
    return row
