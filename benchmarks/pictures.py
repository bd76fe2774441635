"""Pictures of results; each takes the JSON document a benchmark wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

mpl.use("Agg")

Result = dict[str, Any]

COLOURS = {"SpikeServe": "#c2410c", "ANN": "#1d4ed8", "SNN framework": "#6b7280"}
MARKERS = {"SpikeServe": "o", "ANN": "s", "SNN framework": "^"}
SETTING = "threads 1, batch 1"


def accuracy_against_latency(result: Result, path: Path) -> None:
    """Accuracy over milliseconds an image, batch 1 on one thread; frameworks as a rug below."""
    figure, axes = plt.subplots(figsize=(8.6, 6.4))
    rows = result["contenders"].items()
    shown = sorted(100 * row["accuracy"] for _, row in rows if row["accuracy"] is not None)
    floor = shown[0] - 1.2 * max(shown[-1] - shown[0], 1.0)
    placed: dict[str, int] = dict.fromkeys(COLOURS, 0)
    for name, row in sorted(rows, key=lambda item: item[1]["times"][SETTING]["ms"]):
        family, time = row["family"], row["times"][SETTING]
        height = floor if row["accuracy"] is None else 100 * row["accuracy"]
        axes.errorbar(
            time["ms"],
            height,
            xerr=[[time["ms"] - time["ms_min"]], [time["ms_max"] - time["ms"]]],
            fmt=MARKERS[family],
            color=COLOURS[family],
            markersize=9 if name == result["baseline"] else 5,
            elinewidth=0.8,
        )
        above = family == "ANN" and placed[family] % 2 == 0  # close ones take turns
        placed[family] += 1
        axes.annotate(
            f"{name.removeprefix('ANN, ')}, {time['ms']:.2f} ms",
            (time["ms"], height),
            xytext=(0, 7 if above else -7),
            textcoords="offset points",
            ha="center",
            va="bottom" if above else "top",
            fontsize=7,
            color=COLOURS[family],
            rotation=90,
        )
    axes.set_xscale("log")
    spread = max(shown[-1] - shown[0], 1.0)
    axes.set_ylim(floor - 2.2 * spread, shown[-1] + 2.2 * spread)
    axes.set_xlim(right=1.5 * max(row["times"][SETTING]["ms_max"] for _, row in rows))
    axes.set_xlabel("milliseconds an image, batch 1, one thread (log scale)")
    axes.set_ylabel("CIFAR-10 test accuracy, %")
    handles = [
        plt.Line2D([], [], color=COLOURS[f], marker=MARKERS[f], linestyle="", label=f)
        for f in COLOURS
    ]
    handles[-1].set_label("SNN framework (untrained weights, time only)")
    axes.legend(handles=handles, fontsize=7, loc="upper right", frameon=False)
    _finish(figure, axes, path, f"{result['machine']['processor']}, n = {result['images']} images")


def roofline(result: Result, path: Path) -> None:
    """Synaptic operations a second over the size of a layer's weights, beside the roof."""
    figure, axes = plt.subplots(figsize=(7.2, 4.2))
    roof = result["roof"]
    axes.plot(
        [point["kib"] for point in roof],
        [point["gsop"] for point in roof],
        color="#6b7280",
        marker=".",
        label="roof: every row in order, nothing skipped",
    )
    for layer in result["layers"]:
        axes.plot(layer["kib"], layer["gsop"], "o", color=COLOURS["SpikeServe"])
        axes.annotate(
            f"{layer['name']}\n{layer['gsop']:.0f}",
            (layer["kib"], layer["gsop"]),
            xytext=(0, -20),
            textcoords="offset points",
            ha="center",
            fontsize=7,
            color=COLOURS["SpikeServe"],
        )
    axes.set_xscale("log", base=2)
    axes.set_ylim(0)
    axes.set_xlabel("weights of the layer, KiB (log scale)")
    axes.set_ylabel("GSOP/s, one thread")
    axes.legend(fontsize=8, frameon=False)
    _finish(figure, axes, path, result["machine"]["processor"])


def growth(result: Result, path: Path) -> None:
    """Time of one layer over density, width and image size, against dense convolutions."""
    figure, all_axes = plt.subplots(1, 3, figsize=(11, 3.8))
    titles = {"density": "density, %", "width": "channels in and out", "size": "image side"}
    for axes, (sweep, label) in zip(all_axes, titles.items(), strict=True):
        points = result["sweeps"][sweep]
        x = [point[sweep] for point in points]
        axes.plot(x, [p["event_us"] for p in points], "o-", color=COLOURS["SpikeServe"])
        axes.plot(x, [p["dense_us"] for p in points], "s-", color=COLOURS["ANN"])
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(x, [f"{value:g}" for value in x], fontsize=7)
        axes.minorticks_off()
        axes.set_xlabel(label)
        axes.set_title(result["sweeps"][f"{sweep}_of"], fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    all_axes[0].set_ylabel("microseconds, one thread")
    all_axes[0].legend(["event engine", "ONNX Runtime float32"], fontsize=7, frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _finish(figure: Figure, axes: Axes, path: Path, note: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e5e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
    figure.text(0.99, 0.005, note, ha="right", fontsize=6, color="#6b7280")
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
