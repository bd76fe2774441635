"""docs/RESULTS.md from logged JSON, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.results.claim import PUBLISHED_RATIO, first_share, needed_zeta
from benchmarks.results.codes import codes, means
from benchmarks.results.expense import ONE_GPU, TWO_CORES, expense_table
from benchmarks.results.published import FIGURES
from benchmarks.results.summary import summary
from spikeserve.models.plans import VGG16
from spikeserve.service.settings import DEFAULT_BUNDLE

Document = dict[str, Any]
ABLATIONS = "ablation.json"
HEADLINE = "dtsnn-calibrated-65nm"
COMPARED_AT = 0.001
"""Held-out accuracy a rule may lose in the comparison that is shown."""


def write(logged: Path, report: Path) -> None:
    """Write the report and its pictures beside it."""
    from benchmarks.results import pictures  # the text alone needs no matplotlib

    documents = logged_documents(logged)
    folder = report.with_name("results")
    folder.mkdir(exist_ok=True)
    pictures.curves(documents, [one for one in FIGURES if "accuracy" in one], folder / "curves.png")
    pictures.histograms(documents, folder / "histograms.png")
    for document in documents:
        pictures.examples(document, folder / f"examples-{document['bundle']}.png")
        pictures.shifts(document, folder / f"shift-{document['bundle']}.png")
    ablation = logged / ABLATIONS
    if ablation.exists():
        pictures.codes(means(json.loads(ablation.read_text())), folder / "codes.png")
    report.write_text(text(logged))


def logged_documents(logged: Path) -> list[Document]:
    """One a bundle, the default first."""
    paths = [path for path in sorted(logged.glob("*.json")) if path.name != ABLATIONS]
    documents: list[Document] = [json.loads(path.read_text()) for path in paths]
    return sorted(documents, key=lambda one: (one["bundle"] != DEFAULT_BUNDLE.name, one["bundle"]))


def text(logged: Path) -> str:
    """The report as it follows from what was logged."""
    documents, ablation = logged_documents(logged), logged / ABLATIONS
    lines = [
        *_head(documents),
        *summary(documents, HEADLINE),
        *_accuracy(documents),
        *_exits(documents),
        *_rules(documents),
        *_energy(documents),
        *_claim(documents),
        *_shift(documents),
        *(codes(json.loads(ablation.read_text())) if ablation.exists() else ()),
        *_papers(documents),
        *_recipes(),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _head(documents: list[Document]) -> Iterator[str]:
    machine = documents[0]["machine"]
    trained_on = sorted({one["trained_on"] for one in documents})
    yield "# Results"
    yield ""
    yield (
        "What the shipped bundles do on test images, through the served integer program and the "
        "event engine. Temperatures, sharpness and thresholds come from held-out training images, "
        "weights are those of the last epoch; that entropy may be taken sharply at all is an idea "
        "that test figures of an earlier bundle gave ([LOG.md](LOG.md)). Written by `make results` "
        "from `docs/benchmarks/results/*.json`, which `make bench-results` measures, and `make "
        "ablation` for what it says of encodings."
    )
    yield ""
    yield (
        f"Measured on {machine['cores']} cores of an {machine['processor']}; the bundles were "
        f"trained on {', '.join(trained_on)}, one seed each. The papers' networks at full size "
        "have recipes (`training/recipes`) that need a GPU and have not been run to their end."
    )
    yield ""


def _accuracy(documents: list[Document]) -> Iterator[str]:
    yield "## Accuracy and timesteps"
    yield ""
    yield "![accuracy against average timesteps](results/curves.png)"
    yield ""
    yield (
        "| bundle | data | network | accuracy at t = 1 … T, % | by default, % | average timesteps "
        "| oracle | spikes per neuron and step | trained |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for one in documents:
        by_timestep = " / ".join(f"{100 * value:.2f}" for value in one["accuracy_by_timestep"])
        once = "once" if one["fire_once"] else "repeatedly"
        hours = (one["training_seconds"] or 0) / 3600
        yield (
            f"| {one['bundle']} {one['version']} | {one['dataset']}, n = {one['images']:,} | "
            f"{one['layers']} layers, {one['macs'] / 1e6:.0f} MMAC, "
            f"{one['parameters'] / 1e6:.1f} M weights of {one['weight_bits']} bits; "
            f"{one['encoding']}, spiking {once}, {one['reset']} reset | "
            f"{by_timestep} | **{100 * one['accuracy']:.2f}** | "
            f"**{one['average_timesteps']:.3f}** | {one['rules']['oracle']:.3f} | "
            f"{one['mean_spike_rate']:.4f} | {hours:.1f} h, seed {one['seed']}{_pretraining(one)} |"
        )
    yield ""
    if any(one["pretraining"] for one in documents):
        yield (
            "A bundle with hours of *pretraining* started from weights of runs on the data sets "
            "named, where the papers' networks knew one. CIFAR-10 and CIFAR-100 each have a test "
            "image that is a training image of the other ([LOG.md](LOG.md))."
        )
        yield ""
    yield (
        "The oracle stops at the first timestep that is right, and at T where none is (DT-SNN's "
        "AET); a rule may take fewer by letting images go early that are never right."
    )
    yield ""


def _pretraining(one: Document) -> str:
    """The runs whose weights the bundle's training started from, and their hours."""
    runs = one["pretraining"]
    if not runs:
        return ""
    hours = sum(run["training_seconds"] or 0 for run in runs) / 3600
    named = " and ".join(f"{run['recipe']} ({run['dataset']})" for run in runs)
    return f"; {hours:.1f} h of pretraining, for {named}"


def _exits(documents: list[Document]) -> Iterator[str]:
    yield "## Who leaves when"
    yield ""
    yield "![images by exit timestep](results/histograms.png)"
    yield ""
    for one in documents:
        yield f"{one['bundle']}, images drawn at random, wrong answers in colour:"
        yield ""
        yield f"![examples](results/examples-{one['bundle']}.png)"
        yield ""


def _rules(documents: list[Document]) -> Iterator[str]:
    yield "## Exit rules at equal accuracy"
    yield ""
    yield (
        f"Thresholds chosen on held-out images so that at most {100 * COMPARED_AT:.1f} points of "
        "accuracy are lost there against the best fixed number of timesteps; what that gives on "
        "the test set."
    )
    yield ""
    for one in documents:
        rules = one["rules"]
        rows = [row for row in rules["table"] if row["tolerance"] == COMPARED_AT]
        base = rows[0]["test"]["average_timesteps"]
        yield (
            f"**{one['bundle']}** (static {100 * rules['static_accuracy']:.2f} %, "
            f"n = {rules['images']:,}; chosen on {rules['calibration_images']:,}; sharpness "
            f"{one['sharpness']:g})"
        )
        yield ""
        yield "| rule | test accuracy, % | average timesteps | against DT-SNN's |"
        yield "|---|---|---|---|"
        for row in rows:
            steps = row["test"]["average_timesteps"]
            yield (
                f"| {row['rule']} | {100 * row['test']['accuracy']:.2f} | {steps:.3f} | "
                f"{steps / base - 1:+.1%} |"
            )
        yield f"| oracle | | {rules['oracle']:.3f} | |"
        yield ""


def _energy(documents: list[Document]) -> Iterator[str]:
    yield "## Energy and energy-delay product"
    yield ""
    yield (
        "Means over all test images of per-image values, against the same bundle's static run, for "
        "chips that were not built ([ENERGY.md](ENERGY.md) has the model and its validation)."
    )
    yield ""
    yield "| bundle | chip | µJ (static) | energy cut | EDP cut |"
    yield "|---|---|---|---|---|"
    for one in documents:
        for row in one["energy"]:
            bold = "**" if row["profile"] == HEADLINE else ""
            yield (
                f"| {row['bundle']} | {row['profile']} | {row['energy_pj'] / 1e6:.2f} "
                f"({row['static_pj'] / 1e6:.2f}) | {row['energy_cut']:.1%} | "
                f"{bold}{row['edp_cut']:.1%}{bold} |"
            )
    yield ""


def _claim(documents: list[Document]) -> Iterator[str]:
    yield f"## The {PUBLISHED_RATIO:.0f}x, taken apart"
    yield ""
    yield (
        "Compute energy of the ANN over that of the SNN by the paper's accounting: 3.2 pJ a "
        "multiply-accumulate, 0.1 pJ an accumulate, memory and peripherals left out. The price "
        "alone makes 32; sparsity multiplies it (zeta accumulates per multiply-accumulate, all "
        "timesteps together); the first layer, analog and dense, caps it at one over its share. "
        f"On VGG-16 the published {PUBLISHED_RATIO:.0f} needs zeta = "
        f"{needed_zeta(first_share(VGG16)):.3f}. Ratios of operation prices, not of chips: those "
        "are in the table above."
    )
    yield ""
    yield "| bundle | run | price | 1 / zeta | cap | ratio |"
    yield "|---|---|---|---|---|---|"
    for one in documents:
        for name, row in one["claim"].items():
            run = f"all {one['timesteps']} timesteps" if name == "static" else "early exit"
            yield (
                f"| {one['bundle']} | {run} | {row['price']:.0f} | {1 / row['zeta']:.1f} | "
                f"{row['cap']:.0f} | **{row['ratio']:.0f}** |"
            )
    yield ""


def _shift(documents: list[Document]) -> Iterator[str]:
    yield "## Does it slow down when it is unsure?"
    yield ""
    for one in documents:
        shift = one["shift"]
        corrupted = shift["corrupted"]
        slower = {name: row[-1]["average_timesteps"] for name, row in corrupted.items()}
        clean = next(iter(corrupted.values()))[0]
        yield (
            f"**{one['bundle']}**, n = {shift['images']:,} of the test set. Average timesteps go "
            f"from {clean['average_timesteps']:.3f} on clean images to "
            + ", ".join(f"{steps:.3f} ({name})" for name, steps in slower.items())
            + " at severity 5."
        )
        yield ""
        yield f"![corruptions and ambiguity](results/shift-{one['bundle']}.png)"
        yield ""
        yield "| images | average timesteps | mean entropy at T |"
        yield "|---|---|---|"
        for name, met in shift["foreign"].items():
            yield f"| {name} | {met['average_timesteps']:.3f} | {met['static_entropy']:.3f} |"
        yield ""


def _papers(documents: list[Document]) -> Iterator[str]:
    yield "## What papers report"
    yield ""
    yield "| | data | accuracy, % | average timesteps | EDP cut or ratio | what differs |"
    yield "|---|---|---|---|---|---|"
    for one in FIGURES:
        accuracy = f"{100 * one['accuracy']:.2f}" if "accuracy" in one else ""
        cut = f"{one['edp_cut']:.0%}" if "edp_cut" in one else ""
        ratio = f"{one['ratio']}x compute energy" if "ratio" in one else ""
        yield (
            f"| {one['name']} ({one['source']}) | {one['dataset']} | {accuracy} | "
            f"{one['timesteps']} | {cut}{ratio} | {one['differs']} |"
        )
    yield ""
    for dataset in sorted({one["dataset"] for one in documents}):
        yield _gap(
            max((one for one in documents if one["dataset"] == dataset), key=_accuracy_of),
            max((one for one in FIGURES if one["dataset"] == dataset), key=_accuracy_of),
        )
        yield ""


def _gap(ours: Document, published: Document) -> str:
    points = 100 * (_accuracy_of(ours) - _accuracy_of(published))
    return (
        f"On {ours['dataset']} the best here, {ours['bundle']}, reaches "
        f"{100 * ours['accuracy']:.2f} % at {ours['average_timesteps']:.3f} average timesteps: "
        f"{abs(points):.1f} points {'below' if points < 0 else 'above'} {published['name']} "
        f"({100 * published['accuracy']:.2f} % at {published['timesteps']})."
    )


def _accuracy_of(one: Document) -> float:
    return float(one.get("accuracy", 0.0))


def _recipes() -> Iterator[str]:
    yield "## What recipes cost"
    yield ""
    yield (
        "Counted floating-point operations, and how long they take: on two cores at the "
        f"{TWO_CORES / 1e9:.0f} GFLOP/s that bf16 convolutions reached on an AMD EPYC (Zen 4), "
        f"neurons not counted; on a GPU at an assumed {ONE_GPU / 1e12:.0f} TFLOP/s, which nobody "
        "has measured. Pretraining and teachers trained apart are not included."
    )
    yield ""
    yield from expense_table()
    yield ""
