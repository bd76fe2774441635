"""Pictures of docs/RESULTS.md, each from logged JSON."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator
from PIL import Image

mpl.use("Agg")

Document = dict[str, Any]

COLOURS = ("#c2410c", "#1d4ed8", "#15803d", "#7c3aed", "#a16207", "#0e7490")
GREY = "#6b7280"
MARKERS = ("x", "+", "1", "2")
COLUMNS = 8


def curves(documents: list[Document], published: list[Document], path: Path) -> None:
    """Accuracy against average timesteps: a curve a model, default points and papers' figures.

    A panel for each data set.
    """
    datasets = sorted({document["dataset"] for document in documents})
    figure, row = plt.subplots(1, len(datasets), figsize=(6.5 * len(datasets), 4.5), squeeze=False)
    panels = dict(zip(datasets, row[0], strict=True))
    for document, colour in zip(documents, COLOURS, strict=False):
        axes = panels[document["dataset"]]
        points = sorted((t, 100 * accuracy) for _, accuracy, t in document["curve"])
        axes.plot(*zip(*points, strict=True), color=colour, label=_label(document))
        axes.plot(document["average_timesteps"], 100 * document["accuracy"], "o", color=colour)
    for dataset, axes in panels.items():
        papers: dict[str, list[tuple[float, float]]] = {}
        for one in published:
            if one["dataset"] == dataset:
                point = (one["timesteps"], 100 * one["accuracy"])
                papers.setdefault(one["name"], []).append(point)
        for (name, points), marker in zip(papers.items(), MARKERS, strict=False):
            axes.plot(*zip(*points, strict=True), marker, color=GREY, label=name)
        axes.set_title(dataset, fontsize=9)
        axes.set_xlabel("average timesteps")
        axes.legend(fontsize=8, frameon=False, loc="center right")
    row[0][0].set_ylabel("test accuracy, %")
    _finish(figure, list(row[0]), path)


def histograms(documents: list[Document], path: Path) -> None:
    """How many images leave at each timestep by default."""
    figure, row = plt.subplots(
        1, len(documents), figsize=(3.2 * len(documents), 3), squeeze=False, sharey=True
    )
    for axes, document, colour in zip(row[0], documents, COLOURS, strict=False):
        shares = 100 * np.array(document["exit_histogram"]) / document["images"]
        steps = np.arange(1, len(shares) + 1)
        axes.bar(steps, shares, color=colour)
        for t, share, right in zip(steps, shares, document["accuracy_by_exit"], strict=True):
            text = f"{share:.1f} %" + ("" if right is None else f"\n{100 * right:.0f} % right")
            axes.annotate(
                text, (t, share), xytext=(0, 2), textcoords="offset points",
                ha="center", va="bottom", fontsize=6.5,
            )  # fmt: skip
        axes.set_xticks(steps)
        axes.set_ylim(0, 118)
        axes.set_title(document["bundle"], fontsize=8)
        axes.set_xlabel("timestep")
    row[0][0].set_ylabel("images that leave, %")
    _finish(figure, list(row[0]), path)


def examples(document: Document, path: Path) -> None:
    """Images that leave at once, and images that run to the end, drawn without looking."""
    groups = document["examples"]
    titles = {"first": "left at t = 1", "last": f"ran to t = {document['timesteps']}"}
    rows = sum(-(-len(groups[name]) // COLUMNS) for name in titles)
    figure, grid = plt.subplots(rows, COLUMNS, figsize=(COLUMNS, 1.25 * rows), squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    row = 0
    for name, title in titles.items():
        for k, example in enumerate(groups[name]):
            axes = grid[row + k // COLUMNS][k % COLUMNS]
            axes.imshow(Image.open(BytesIO(base64.b64decode(example["png"]))))
            label, said = (document["labels"][example[key]] for key in ("label", "predicted"))
            axes.set_title(
                label if label == said else f"{label}\n→ {said}", fontsize=6,
                color="black" if label == said else COLOURS[0], pad=2,
            )  # fmt: skip
            if k == 0:
                axes.text(-0.15, 0.5, title, fontsize=7, rotation=90, va="center", ha="right",
                          transform=axes.transAxes)  # fmt: skip
        row += -(-len(groups[name]) // COLUMNS)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def shifts(document: Document, path: Path) -> None:
    """Average timesteps and accuracy as images get worse, and less and less clear."""
    figure, (time, right, mixed) = plt.subplots(1, 3, figsize=(11, 3.4))
    shift = document["shift"]
    for (name, row), colour in zip(shift["corrupted"].items(), COLOURS, strict=False):
        severities = range(len(row))
        time.plot(severities, [met["average_timesteps"] for met in row], "o-", color=colour,
                  markersize=3, label=name)  # fmt: skip
        right.plot(severities, [100 * met["accuracy"] for met in row], "o-", color=colour,
                   markersize=3)  # fmt: skip
    shares = [100 * share for share in shift["shares"]]
    mixed.plot(shares, [met["average_timesteps"] for met in shift["ambiguous"]], "o-",
               color=GREY, markersize=3)  # fmt: skip
    time.set_ylabel("average timesteps")
    time.set_xlabel("severity of the corruption")
    right.set_ylabel("accuracy, %")
    right.set_xlabel("severity of the corruption")
    mixed.set_ylabel("average timesteps")
    mixed.set_xlabel("share of an image of another class, %")
    time.legend(fontsize=7, frameon=False)
    _finish(figure, [time, right, mixed], path)


def _label(document: Document) -> str:
    static = 100 * document["accuracy_by_timestep"][-1]
    return f"{document['bundle']}, static {static:.1f} %"


def _finish(figure: Figure, all_axes: list[Axes], path: Path) -> None:
    for axes in all_axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e5e7eb", linewidth=0.6)
        axes.set_axisbelow(True)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def codes(rows: list[Document], path: Path) -> None:
    """Accuracy over operations at t = 1 … T, a line a code; circles: leaving early."""
    figure, axes = plt.subplots(figsize=(11, 5))
    families = list(dict.fromkeys(row["name"].rpartition(", ")[0] for row in rows))
    for row in rows:
        family = row["name"].rpartition(", ")[0]
        colour = COLOURS[families.index(family) % len(COLOURS)]
        alike = [other["name"] for other in rows if other["name"].rpartition(", ")[0] == family]
        style = ("-", "--", ":")[alike.index(row["name"]) % 3]
        accuracy = [100 * value for value in row["accuracy"]]
        axes.plot(np.cumsum(row["operations"]), accuracy, style, color=colour, label=row["name"])
        early = row["early_exit"]
        axes.plot(early["operations"], 100 * early["accuracy"], "o", color=colour, markersize=4)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1]))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel("synaptic operations per dense multiply-accumulate, all timesteps so far")
    axes.set_ylabel("held-out accuracy, %")
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    _finish(figure, [axes], path)
