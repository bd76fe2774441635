"""What an engine and a bare route would allow a server to answer, and how much of it each does."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from benchmarks.goodput import spread
from benchmarks.outcomes import Document
from benchmarks.servers import BARE


def ceilings(one: Document, two: Document, engine: Mapping[str, Sequence[Document]]) -> Document:
    """Answers a second that cores / (engine CPU an image + CPU of a bare route) would be.

    On one core everything is taken within the same repetition, so that a machine that drifts
    slows all parts of a share alike. On two cores the client takes its part; ``share_less``
    leaves that out of the budget. A median clearly above 1 says that the ceiling was measured
    wrong: the run is no evidence.

    Args:
        one, two: runs of all servers on one core and on two.
        engine: CPU milliseconds an image by batch, in every repetition, by engine.
    """
    bare_s = [1 / run["rate"] for run in one["servers"][BARE]["closed"]]
    found: Document = {
        "bare_route_ms": spread([seconds * 1000 for seconds in bare_s]),
        "engine_ms": {
            choice: {batch: spread([run[batch] for run in runs]) for batch in runs[0]}
            for choice, runs in engine.items()
        },
    }
    budgets = {
        choice: [min(run.values()) / 1000 + bare for run, bare in zip(runs, bare_s, strict=True)]
        for choice, runs in engine.items()
    }
    shares: dict[str, Document] = {}
    for name, row in one["servers"].items():
        if name != BARE:
            budget = budgets[_engine(name)]
            shares[f"{name}, 1 core"] = {
                "ceiling": spread([1 / seconds for seconds in budget]),
                "share": spread([
                    run["rate"] * seconds
                    for run, seconds in zip(row["closed"], budget, strict=True)
                ]),
            }  # fmt: skip
    for name, row in two["servers"].items():
        if name != BARE:
            image_s = statistics.median(budgets[_engine(name)])
            rates = [run["rate"] * image_s for run in row["closed"]]
            shares[f"{name}, 2 cores"] = {
                "ceiling": spread([2 / image_s]),
                "share": spread([rate / 2 for rate in rates]),
                "share_less": spread([
                    rate / (2 - run["client_cpu"])
                    for rate, run in zip(rates, row["closed"], strict=True)
                ]),
            }  # fmt: skip
    return {**found, "shares": shares}


def _engine(name: str) -> str:
    return "event" if "event" in name else "onnx"


def ceiling_lines(found: Document) -> list[str]:
    """As a table in Markdown, with what it was computed from."""
    engines = ", ".join(
        f"{choice} {batch} {cost['median']:.3f} ({cost['min']:.3f}…{cost['max']:.3f})"
        for choice, batches in found["engine_ms"].items()
        for batch, cost in batches.items()
    )
    lines = [
        f"CPU milliseconds an image, median (range): engine {engines}; bare route "
        f"{found['bare_route_ms']['median']:.3f}. The ceiling is cores / (the better batch + bare "
        "route), everything on one core taken within the same repetition:\n",
        "| | ceiling a second | share of it (range) | less the client's CPU |",
        "|---|---|---|---|",
    ]
    for name, row in found["shares"].items():
        less = f"{row['share_less']['median']:.0%}" if "share_less" in row else "–"
        share = row["share"]
        lines.append(
            f"| {name} | {row['ceiling']['median']:.0f} | {share['median']:.1%} "
            f"({share['min']:.0%}…{share['max']:.0%}) | {less} |"
        )
    return lines
