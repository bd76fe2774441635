"""What load runs say about a server: capacity, goodput under an objective, ratios; a table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.outcomes import Document

RATES = (
    12, 25, 50, 75, 100, 150, 200, 300, 400, 600, 800, 1000, 1200, 1400, 1600, 2000, 2400, 2800,
    3400, 4000,
)  # fmt: skip
LOWEST, HIGHEST = 0.15, 1.3  # shares of the capacity
COLLAPSED = 0.5
ENOUGH_COLLAPSED = 2


def rates_for(capacity: float) -> list[int]:
    """The rates of the common grid that tell something about a server of this capacity."""
    told = [rate for rate in RATES if LOWEST * capacity <= rate <= HIGHEST * capacity]
    return told or [min(RATES, key=lambda rate: abs(rate - capacity))]


def collapsed(runs: Sequence[Document], objective: int) -> bool:
    """Whether most answers of the newest rates came too late or not at all."""
    newest = runs[-ENOUGH_COLLAPSED:]
    shares = [run["good"][str(objective)] / run["offered"] for run in newest]
    return len(newest) == ENOUGH_COLLAPSED and max(shares) < COLLAPSED


def goodput(runs: Sequence[Document], objective: int) -> float:
    """Answers a second within the objective, at the highest rate whose p99 keeps it; 0 if none."""
    kept = [run for run in runs if run["ms"]["p99"] is not None and run["ms"]["p99"] <= objective]
    best = max(kept, key=lambda run: run["offered"], default=None)
    return best["good"][str(objective)] if best else 0.0


def spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 4),
        "min": round(min(values), 4),
        "max": round(max(values), 4),
    }


def ratio(value: float, base: float) -> float | None:
    """None where there is nothing to divide by."""
    return round(value / base, 2) if base else None


def times(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}×"


def milliseconds(value: float | None) -> str:
    return "∞" if value is None else f"{value:.1f}"


def load_table(rows: dict[str, Document], ours: str, objectives: Sequence[int]) -> list[str]:
    """Capacity and goodput of every server, against ours."""
    heads = [f"goodput at p99 ≤ {objective} ms, ratio" for objective in objectives]
    lines = [
        "| | capacity a second (range) | ratio | " + " | ".join(heads) + " |",
        "|---|---|---|" + "---|" * len(heads),
    ]
    base = rows[ours]
    for name, row in rows.items():
        capacity = row["capacity"]
        cells = [
            f"{capacity['median']:.0f} ({capacity['min']:.0f}…{capacity['max']:.0f})",
            times(ratio(capacity["median"], base["capacity"]["median"])),
        ]
        for objective in objectives if row["runs"] else ():
            mine, theirs = goodput(row["runs"], objective), goodput(base["runs"], objective)
            cells.append(f"{mine:.0f}, {times(ratio(mine, theirs))}")
        cells += ["–"] * (2 + len(objectives) - len(cells))
        lines.append(f"| {f'**{name}**' if name == ours else name} | " + " | ".join(cells) + " |")
    return lines


def latency_table(rows: dict[str, Document]) -> list[str]:
    """p50 and p99 of every open-loop run, one row a server."""
    lines = ["| | offered a second: p50 / p99 in ms |", "|---|---|"]
    for name, row in rows.items():
        if row["runs"]:
            cells = [
                f"{run['offered']:.0f}: {milliseconds(run['ms']['p50'])} / "
                f"{milliseconds(run['ms']['p99'])}"
                for run in row["runs"]
            ]
            lines.append(f"| {name} | {'; '.join(cells)} |")
    return lines
