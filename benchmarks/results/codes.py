"""What the ablation found, as a section of docs/RESULTS.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

Document = dict[str, Any]


def means(document: Document) -> list[Document]:
    """One row a code, in the order in which they were trained: means over seeds.

    ``spread`` is half of the largest difference between seeds in an accuracy, in points.
    """
    names = list(dict.fromkeys(run["name"] for run in document["runs"]))
    rows = []
    for name in names:
        runs = [run for run in document["runs"] if run["name"] == name]
        row: Document = {"name": name}
        for part in ("accuracy", "operations"):
            row[part] = np.mean([run[part] for run in runs], axis=0).tolist()
        row["spread"] = 50 * float(np.ptp([run["accuracy"] for run in runs], axis=0).max())
        row["early_exit"] = {
            part: float(np.mean([run["early_exit"][part] for run in runs]))
            for part in runs[0]["early_exit"]
        }
        rows.append(row)
    return rows


def codes(document: Document) -> Iterator[str]:
    """Accuracy and operations of every code, without exits and with."""
    rows = means(document)
    yield "## What a spike code is worth"
    yield ""
    best = max(value for row in rows for value in row["accuracy"])
    error = 100 * (best * (1 - best) / document["images"]) ** 0.5
    yield (
        f"{document['about']} Standard error of an accuracy: {error:.1f} points a seed; seeds "
        f"differ from their mean by up to {max(row['spread'] for row in rows):.1f}."
    )
    yield ""
    yield (
        "*Operations* are synaptic operations behind the first layer per multiply-accumulate of "
        "one dense pass, over all timesteps. *Leaving early* is the entropy threshold with the "
        "fewest operations that loses at most 0.1 points against the best number of timesteps."
    )
    yield ""
    yield "| one pass with | held-out accuracy after each epoch, % |"
    yield "|---|---|"
    for stage, epochs in document["one_pass"].items():
        accuracy = " / ".join(f"{100 * value:.1f}" for value in epochs)
        yield f"| {stage} | {accuracy} |"
    yield ""
    yield (
        "| code | accuracy at t = 1 … T, % | operations "
        "| leaving early: accuracy, % | timesteps | operations |"
    )
    yield "|---|---|---|---|---|---|"
    for row in rows:
        accuracy = " / ".join(f"{100 * value:.1f}" for value in row["accuracy"])
        early = row["early_exit"]
        yield (
            f"| {row['name']} | {accuracy} | {sum(row['operations']):.3f} | "
            f"{100 * early['accuracy']:.1f} | {early['timesteps']:.2f} | "
            f"{early['operations']:.3f} |"
        )
    yield ""
    yield "![accuracy over operations, a line a code](results/codes.png)"
    yield ""
