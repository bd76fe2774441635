"""Tables of measurements in README and docs, written from the JSON that benchmarks log.

    python -m benchmarks.quoted [--check]

A table stands between ``<!-- measured: NAME -->`` and ``<!-- end of measured -->``; ``NAME`` is a
key of ``TABLES``. Without ``--check`` the documents are written anew; with it, the exit status
is 1 if one would change.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.goodput import goodput, ratio
from benchmarks.results.published import FIGURES
from spikeserve.service.settings import DEFAULT_BUNDLE

ROOT = Path(__file__).parents[1]
LOGGED = ROOT / "docs" / "benchmarks"
DOCUMENTS = tuple(ROOT / f"{name}.md" for name in ("README", "docs/BENCHMARKS", "docs/ENGINES"))
BLOCK = re.compile(
    r"(<!-- measured: ([\w-]+) -->\n)(?:(?!<!-- measured).)*?(<!-- end of measured -->)", re.DOTALL
)

Document = dict[str, Any]
ALONE, BATCHED = "threads 1, batch 1", "threads 2, batch 16"
OBJECTIVE_MS = 50
PROFILES = ("dtsnn-calibrated-65nm", "dtsnn-serial-pixels-65nm", "spikesim-ela-65nm")

COMPARED = {
    "event engine, early exit": "**SpikeServe, early exit**",
    "event engine, all T": "SpikeServe, all four timesteps",
    "ANN, ONNX Runtime int8": "ordinary network (ANN) of the same layers, int8, ONNX Runtime",
    "SpikingJelly, T = 4": "the same spiking layers in SpikingJelly, all four timesteps",
}
"""The rows of the README: contender, and how it is called there."""

SERVERS = {
    "SpikeServe, event engine": "**SpikeServe**",
    "request batches, shrinking, event engine": "request batches, rows leave when sure",
    "request batches, whole, event engine": "request batches, run until the last row is sure",
    "FastAPI, one by one, event engine": "FastAPI, early exit, one by one",
    "FastAPI, all T, event engine": "FastAPI, all four timesteps",
    "LitServe, one by one, event engine": "LitServe, early exit, one by one",
    "LitServe, one by one, onnx engine": "LitServe, ONNX step model, one by one",
    "LitServe, batches, onnx engine": "LitServe, ONNX step model, batches",
}


def logged(name: str) -> Document:
    """What a benchmark wrote, by its name below ``docs/benchmarks``."""
    document: Document = json.loads((LOGGED / f"{name}.json").read_text())
    return document


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""

    def line(cells: Sequence[str]) -> str:
        return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"

    return "\n".join([line(head), "|" + "---|" * len(head), *map(line, rows)])


def accuracy(row: Document) -> str:
    return "untrained" if row["accuracy"] is None else f"{100 * row['accuracy']:.2f} %"


def four_rows() -> str:
    """Ours with and without early exit, the best ANN and a framework; one image, one thread."""
    contenders = logged("engines")["contenders"]
    rows = []
    for name, title in COMPARED.items():
        alone = contenders[name]["times"][ALONE]
        rows.append(
            (title, accuracy(contenders[name]), f"{alone['ms']:.3g}", f"{alone['ratio']:g}")
        )
    return table(("", "accuracy", "milliseconds an image", "times"), rows)


def engines() -> str:
    """Every contender, one image on one thread and sixteen on two."""
    result = logged("engines")
    rows = []
    for name, row in result["contenders"].items():
        bold = "**" if name == result["baseline"] else ""
        alone, batched = row["times"][ALONE], row["times"][BATCHED]
        rows.append(
            (
                f"{bold}{name}{bold}",
                accuracy(row),
                f"{bold}{alone['ms']:.3g}{bold}",
                f"{alone['ratio']:g}",
                f"{batched['ms']:.3g}",
                f"{batched['ratio']:g}",
            )
        )
    head = ("", "accuracy", "1 thread, batch 1", "times", "2 threads, batch 16", "times")
    return table(head, rows)


def load() -> str:
    """Capacity and goodput of every server on one core."""
    servers = logged("serving")["one_core"]["servers"]
    base = servers["SpikeServe, event engine"]
    rows = []
    for name, title in SERVERS.items():
        row = servers[name]
        capacity, ours = row["capacity"]["median"], base["capacity"]["median"]
        good, best = (goodput(one["runs"], OBJECTIVE_MS) for one in (row, base))
        rows.append(
            (
                title,
                f"{capacity:,.0f}",
                "1" if row is base else f"{ratio(capacity, ours):.2f}",
                f"{good:.0f}",
                "1" if row is base else f"{ratio(good, best):.2f}",
            )
        )
    head = ("one core", "capacity a second", "ratio", "goodput at p99 ≤ 50 ms", "ratio")
    return table(head, rows)


def early_exit() -> str:
    """EDP that early exit saves, by bundle and profile, beside what DT-SNN publishes."""
    reductions = logged("energy")["reductions"]
    found = {(one["bundle"], one["profile"]): one for one in reductions}
    default = f"{DEFAULT_BUNDLE.name} 1"
    bundles = sorted(
        {one["bundle"] for one in reductions}, key=lambda name: (name != default, name)
    )
    rows = []
    for bundle in bundles:
        plain, slow, ideal = (found[bundle, profile] for profile in PROFILES)
        outside = "" if plain["in_domain"] else " (out of domain)"
        rows.append(
            (
                f"`{bundle.rpartition(' ')[0]}`{outside}",
                f"{plain['average_timesteps']:.3f}",
                f"**{100 * plain['edp_cut']:.1f} %**",
                f"{100 * slow['edp_cut']:.1f} %",
                f"{100 * ideal['edp_cut']:.1f} %",
            )
        )
    for one in FIGURES:
        if "edp_cut" in one:
            name, cut = f"{one['name']}, as published", f"{100 * one['edp_cut']:.0f} %"
            rows.append((name, f"{one['timesteps']}", cut, "", ""))
    head = (
        "bundle",
        "average timesteps",
        "EDP saved",
        "pessimistic: pixels bit by bit",
        "optimistic: all charged every step",
    )
    return table(head, rows)


def layers() -> str:
    """One layer at a time, beside the roof of its own shape."""
    rows = [
        (row["name"], f"{row['us']:.1f}", f"{row['gsop']}", f"{row['roof_gsop']}",
         f"{100 * row['share']:.0f} %")
        for row in logged("layers")["layers"]
    ]  # fmt: skip
    return table(("layer, 10 % density", "µs", "GSOP/s", "its roof", "share"), rows)


def large() -> str:
    """Larger pictures: load, memory, a timestep and a request, on one thread and on all."""
    rows = []
    for network in logged("large")["networks"]:
        alone, *shared = network["threads"].values()
        both = shared[-1] if shared else alone
        rows.append(
            (
                f"{network['name']}, {network['side']} px",
                f"{network['macs'] / 1e9:.2f} G",
                f"{network['neurons'] / 1e6:.2f} M",
                f"{100 * network['firing']:.0f} %",
                f"{both['ready_s']:.1f} s",
                f"{both['peak_mib']:,} MiB",
                f"{alone['timestep_ms']:.1f} ms",
                f"{both['request_ms']:.0f} ms",
            )
        )
    head = (
        "network", "MACs a timestep", "neurons", "fire", "start to first answer", "memory",
        "timestep", "request, all 4 timesteps",
    )  # fmt: skip
    return table(head, rows)


TABLES: dict[str, Callable[[], str]] = {
    "four-rows": four_rows,
    "engines": engines,
    "load": load,
    "early-exit": early_exit,
    "layers": layers,
    "large": large,
}


def renewed(text: str) -> str:
    """A document with its measured tables as they follow from the logs."""
    return BLOCK.sub(lambda block: f"{block[1]}\n{TABLES[block[2]]()}\n\n{block[3]}", text)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args(arguments)
    stale = [path for path in DOCUMENTS if renewed(path.read_text()) != path.read_text()]
    for path in stale:
        print(f"{path.relative_to(ROOT)} {'is stale' if options.check else 'renewed'}")
        if not options.check:
            path.write_text(renewed(path.read_text()))
    return int(options.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
