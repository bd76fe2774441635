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
    yield from _explained(document, {row["name"]: row for row in rows})


def _explained(document: Document, rows: dict[str, Document]) -> Iterator[str]:
    """What the figures say of the explanation that the ablation was made to try."""
    passes = {stage: 100 * epochs[-1] for stage, epochs in document["one_pass"].items()}
    once, halving = rows["once, hybrid"], rows["once, halving"]
    binary, levels = rows["repeatedly from two levels, direct"], rows["levels, direct, free"]
    yield (
        f"**Fire once: two levels, whenever.** {_span(once)}, close to what one pass with two "
        f"levels has ({passes['binary']:.1f} %). What a spike's time could say besides is not "
        f"handed over: levels that halve have {passes['halved']:.1f} % in one pass, the neurons "
        f"made of them {_span(halving)}, because deep ones decide before the finer part of their "
        "input has come."
    )
    yield ""
    gained = 100 * (levels["accuracy"][-1] - binary["accuracy"][-1])
    yield (
        f"**Fire repeatedly: as many levels as timesteps and one.** One pass with them has "
        f"{passes['levels']:.1f} %, a ReLU network {passes['relu']:.1f} %. Neurons with a soft "
        f"reset that begin with these weights have {_span(levels)} (direct input, no price). Most "
        f"of that is the neurons': from the weights that know two levels they have "
        f"{_span(binary)}. Beginning with more levels adds {gained:.1f} points in this short "
        "training; in a longer one of a single seed it added 1.8 "
        "([LOG](LOG.md), 2026-11-26)."
    )
    yield ""
    cheap, cheapest = rows["levels, front-loaded, free"], rows["levels, front-loaded, cheapest"]
    saved = 1 - sum(cheapest["operations"]) / sum(cheap["operations"])
    lost = 100 * (cheap["accuracy"][-1] - cheapest["accuracy"][-1])
    yield (
        f"**Sparsity is cheap.** The highest price saves {saved:.0%} of the operations and costs "
        f"{lost:.1f} points (front-loaded input, all timesteps)."
    )
    yield ""
    goal = once["accuracy"][-1]
    inputs = {
        source: min(operations_for(row, goal) for name, row in rows.items() if source in name)
        for source in ("levels, direct", "levels, front-loaded", "levels, hybrid")
    }
    needed = ", ".join(f"{name.split(', ')[1]} {found:.3f}" for name, found in inputs.items())
    yield (
        f"**Input.** To be as accurate as the network that fires once ({100 * goal:.1f} %) the "
        f"best of each input needs, in operations without exits: {needed}. It itself needs "
        f"{operations_for(once, goal):.3f}, and {once['early_exit']['operations']:.3f} leaving "
        "early: as far as two levels go, they are the cheapest; beyond, more timesteps are what "
        "buys accuracy."
    )
    yield ""


def _span(row: Document) -> str:
    first, last = (100 * row["accuracy"][t] for t in (0, -1))
    return f"{first:.1f} % at t = 1, {last:.1f} % by T"


def operations_for(row: Document, accuracy: float) -> float:
    """Operations up to where a code first reaches ``accuracy``, between timesteps in proportion;
    infinite where it never does."""
    spent = np.cumsum(row["operations"])
    for t, reached in enumerate(row["accuracy"]):
        if reached >= accuracy:
            if t == 0:
                return float(spent[0])
            before = row["accuracy"][t - 1]
            return float(np.interp(accuracy, [before, reached], spent[t - 1 : t + 1]))
    return float("inf")
