"""The picture of servers under load; takes the JSON document of ``benchmarks.serving``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

mpl.use("Agg")

Result = dict[str, Any]

PANELS = {"p50": "p50, ms", "p99": "p99, ms", "good": "answers a second within {} ms"}


def load_curves(result: Result, path: Path) -> None:
    """Latency and goodput over offered rate on one core; a line ends where p99 is infinite."""
    objective = result["objectives_ms"][0]
    figure, all_axes = plt.subplots(1, 3, figsize=(14, 5.6))
    for number, (name, row) in enumerate(result["one_core"]["servers"].items()):
        runs = row["runs"]
        if not runs:
            continue
        ours = name.startswith("SpikeServe")
        style = {
            "color": f"C{number % 10}",
            "marker": "o" if ours else "^" if "onnx" in name else "s",
            "markersize": 4,
            "linewidth": 2.2 if ours else 1.0,
            "linestyle": "-" if "event" in name else "--",
            "label": name,
        }
        rates = [run["offered"] for run in runs]
        for axes, panel in zip(all_axes, PANELS, strict=True):
            values = [
                run["good"][str(objective)] if panel == "good" else run["ms"][panel] for run in runs
            ]
            shown = [value if value else float("nan") for value in values]
            axes.plot(rates, shown, **style)
    for axes, label in zip(all_axes, PANELS.values(), strict=True):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("requests offered a second (log scale)")
        axes.set_ylabel(label.format(objective))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e5e7eb", linewidth=0.6)
        axes.set_axisbelow(True)
    for axes in all_axes[:2]:
        axes.axhline(objective, color="#6b7280", linewidth=0.8, linestyle=":")
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=3, fontsize=7, frameon=False)
    note = f"{result['machine']['processor']}, server on one core, {result['date']}"
    figure.text(0.99, 0.005, note, ha="right", fontsize=6, color="#6b7280")
    figure.tight_layout(rect=(0, 0.2, 1, 1))
    figure.savefig(path, dpi=130)
    plt.close(figure)
