"""Servers of the same bundle under the same load.

    python -m benchmarks.serving [--quick]

Everyone gets the same CIFAR-10 test pictures as PNG files and must answer them as our engine
does. Capacity is measured with a fixed number of connections, in repetitions that go through
all servers in turn; then requests arrive at stepped rates whatever the server does, and goodput
is what it answers in time. Servers that are not measured are paused. With one core for the
server and another for the load there is a clean budget; with two cores both share them.
Writes ``docs/benchmarks/serving.json``, the tables in ``serving.md`` and ``serving.png``.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path

from PIL import Image

from benchmarks.ceilings import ceiling_lines, ceilings
from benchmarks.contenders import Pixels
from benchmarks.costs import engine_turn, metrics_us
from benchmarks.goodput import (
    latency_table,
    load_table,
    ratio,
    times,
)
from benchmarks.machine import libraries, machine
from benchmarks.outcomes import OBJECTIVES_MS, Document
from benchmarks.servers import (
    BARE,
    NOT_INSTALLABLE,
    OURS,
    OURS_ONNX,
    OURS_PROCESSES,
    SERVERS,
    SHRINKING,
    WHOLE,
)
from benchmarks.servers.processes import PINS, on_cores
from benchmarks.trials import (
    QUICK,
    SEED,
    Load,
    Plan,
    Setting,
    Turn,
    awake,
    check,
    closed_turns,
    measured,
    repeated,
    started,
)
from spikeserve.models.bundle import Bundle, load_bundle
from spikeserve.models.engines.selection import EngineChoice
from spikeserve.service.settings import DEFAULT_BUNDLE
from spikeserve.training.data import DATASETS

RESULTS = Path("docs/benchmarks")
CHOICES: tuple[EngineChoice, ...] = ("event", "onnx")
MIXED = (0.0, 0.01, 0.1, 0.421)
BATCHED = (OURS_ONNX, WHOLE.format("onnx"), SHRINKING.format("onnx"))


def rows_per_tick(metrics: str) -> float:
    """Of what our server has stepped so far, from its own metrics."""
    totals = {"sum": 0.0, "count": 0.0}
    for line in metrics.splitlines():
        for part in totals:
            if line.startswith(f"spikeserve_batch_rows_{part}"):
                totals[part] += float(line.split()[-1])
    return totals["sum"] / totals["count"]


def continuous(mixes: dict[str, dict[str, Document]]) -> dict[str, Document]:
    """Ours over request-level batching on the onnx engine, by mix."""
    ratios: dict[str, Document] = {}
    for mix, rows in mixes.items():
        ours = rows[OURS_ONNX]
        ratios[mix] = {
            name: {
                "capacity": ratio(ours["capacity"]["median"], rows[name]["capacity"]["median"]),
                **{
                    f"goodput {ms} ms": ratio(
                        ours["goodput"][str(ms)], rows[name]["goodput"][str(ms)]
                    )
                    for ms in OBJECTIVES_MS
                },
                "mean_timesteps": mean_timesteps(ours),
            }
            for name in BATCHED[1:]
        }
    return ratios


def settings() -> tuple[Setting, Setting]:
    """One core for the server and one for the load; then two for both together."""
    cores = sorted(os.sched_getaffinity(0)) if PINS else list(range(os.cpu_count() or 1))
    both = frozenset(cores[:2])
    return Setting(frozenset(cores[:1]), frozenset(cores[1:2] or cores)), Setting(both, both)


def compare(bundle: Bundle, data: Path, plan: Plan) -> Document:
    """The whole comparison as one JSON document."""
    test = DATASETS["cifar10"].test(data)
    images = test.images[:: len(test) // plan.images][: plan.images]  # evenly spaced
    missing = {server.name: server.missing for server in SERVERS if server.missing}
    able = [server for server in SERVERS if server.name not in missing]
    single = [server for server in able if server.name != OURS_PROCESSES]
    one_core, two_cores = settings()
    with tempfile.TemporaryDirectory(prefix="serving-") as folder:
        pictures, logs = Path(folder) / "pictures", Path(folder) / "logs"
        pictures.mkdir()
        logs.mkdir()
        picture = write(images, pictures)
        with on_cores(set(one_core.server)):
            metrics = metrics_us(bundle, images[0])
        engines: dict[str, Turn] = {
            choice: engine_turn(bundle, choice, images, set(one_core.server)) for choice in CHOICES
        }
        load = Load(one_core, pictures, plan)
        with started(single, one_core, picture, logs) as processes:
            for process in processes.values():
                check(process, load, bundle, images, ())
            steps = set(processes) - {BARE}
            everyone = list(processes.values())
            turns: dict[str, Turn] = {**closed_turns(everyone, load, ()), **engines}
            closed = repeated(turns, plan.repetitions)
            one = {"servers": measured(everyone, closed, load, (), plan, steps)}
            with awake(processes[OURS]) as ours:
                tick_rows = rows_per_tick(ours.metrics())
            batched = [processes[name] for name in BATCHED]
            for process in batched:
                check(process, load, bundle, images, MIXED)
            mixed_closed = repeated(closed_turns(batched, load, MIXED), plan.repetitions)
            mixed = measured(batched, mixed_closed, load, MIXED, plan, set(BATCHED))
        chosen = [s for s in able if not plan.quick or s.name in (OURS, OURS_PROCESSES, OURS_ONNX)]
        load = Load(two_cores, pictures, plan)
        with started(chosen, two_cores, picture, logs) as processes:
            everyone, steps = list(processes.values()), {OURS, OURS_PROCESSES}
            both = repeated(closed_turns(everyone, load, ()), plan.repetitions)
            two = {"servers": measured(everyone, both, load, (), plan, steps)}
    mixes = {"default": one["servers"], "mixed": mixed}
    return {
        "date": date.today().isoformat(),
        "bundle": f"{bundle.manifest.name} {bundle.manifest.version}",
        "machine": machine(),
        "libraries": libraries(),
        "pinned": PINS,
        "plan": asdict(plan),
        "seed": SEED,
        "objectives_ms": OBJECTIVES_MS,
        "engine_cpu_ms": {choice: closed[choice] for choice in CHOICES},
        "metrics_us": per_request(metrics, tick_rows, one["servers"][OURS]),
        "ceilings": ceilings(one, two, {choice: closed[choice] for choice in CHOICES}),
        "one_core": one,
        "two_cores": two,
        "mixed_thresholds": MIXED,
        "mixed": mixed,
        "continuous_over_request_level": continuous(mixes),
        "unavailable": {**missing, **NOT_INSTALLABLE},
    }


def per_request(metrics: dict[str, float], tick_rows: float, ours: Document) -> Document:
    """The cost of our metrics for one request, and its share of all CPU it takes on one core."""
    request = metrics["answer"] + metrics["tick"] * mean_timesteps(ours) / tick_rows
    cpu = 1e6 / ours["capacity"]["median"]
    return {
        **metrics, "rows_per_tick": round(tick_rows, 2), "request": round(request, 2),
        "cpu_per_request": round(cpu, 1), "share": round(request / cpu, 4),
    }  # fmt: skip


def mean_timesteps(server: Document) -> float:
    """Of all its answers while its capacity was measured, each repetition weighing the same."""
    return round(statistics.fmean(run["mean_timesteps"] for run in server["closed"]), 4)


def write(images: Pixels, folder: Path) -> bytes:
    """Every image as a PNG file, in order; returns the first one."""
    files = []
    for number, image in enumerate(images):
        with io.BytesIO() as buffer:
            Image.fromarray(image).save(buffer, "PNG")
            files.append(buffer.getvalue())
        (folder / f"{number:05d}.png").write_bytes(files[-1])
    return files[0]


def report(result: Document) -> str:
    """The comparison in Markdown."""
    one, two = result["one_core"]["servers"], result["two_cores"]["servers"]
    metrics, plan = result["metrics_us"], result["plan"]
    lines = ["Server on one core, load on another:\n", *load_table(one, OURS, OBJECTIVES_MS)]
    lines += ["", *latency_table(one), "\nServer and load share two cores:\n"]
    lines += [*load_table(two, OURS, OBJECTIVES_MS), "", *latency_table(two), ""]
    lines += [
        f"Client on two cores, share of one core at capacity: {name} "
        f"{row['client_cpu']['median']:.2f}."
        for name, row in two.items()
        if name in (OURS, OURS_PROCESSES, OURS_ONNX)
    ]
    lines += ["", *ceiling_lines(result["ceilings"])]
    lines.append("\nContinuous over request-level batching, onnx engine, one core:\n")
    for mix, rows in result["continuous_over_request_level"].items():
        for name, row in rows.items():
            goods = ", ".join(
                f"goodput at p99 ≤ {ms} ms {times(row[f'goodput {ms} ms'])}" for ms in OBJECTIVES_MS
            )
            lines.append(
                f"- {mix} mix ({row['mean_timesteps']:.2f} timesteps) against {name}: "
                f"capacity {times(row['capacity'])}, {goods}"
            )
    lines.append(
        f"\nMetrics cost {metrics['request']:.1f} µs a request of {metrics['cpu_per_request']:.0f} "
        f"({metrics['share']:.1%})."
    )
    lines += [
        f"\n{name} could not run: {reason}." for name, reason in result["unavailable"].items()
    ]
    facts, versions = result["machine"], result["libraries"]
    lines.append(
        f"\n{facts['processor']} ({facts['architecture']}, {facts['cores']} cores), "
        f"{facts['system']}, Python {facts['python']}, "
        + ", ".join(f"{name} {number}" for name, number in versions.items())
        + f". {result['bundle']}, {plan['images']} evenly spaced CIFAR-10 test images as PNG, "
        f"{result['date']}. Capacity: {plan['connections']} connections, {plan['repetitions']} "
        f"repetitions of {plan['closed_s']:g} s, median and range. Open loop: Poisson arrivals "
        f"(seed {result['seed']}), latency from when a request was due, "
        f"{plan['open_s'][0]:g}…{plan['open_s'][1]:g} s a rate, errors and answers later than "
        f"{plan['timeout_s']:g} s are infinitely late (∞). Goodput: answers in time a second at "
        "the highest rate whose p99 keeps the objective. Every server answered every image with "
        "the class and timesteps of our engine."
        + ("" if result["pinned"] else " Cores could not be chosen here.")
    )
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="a tiny run, no figures to quote")
    options = parser.parse_args(arguments)
    from benchmarks.curves import load_curves  # matplotlib: the bench extra

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers are ended
    result = compare(load_bundle(DEFAULT_BUNDLE), options.data, QUICK if options.quick else Plan())
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "serving.json").write_text(json.dumps(result, indent=1) + "\n")
    (options.out / "serving.md").write_text(report(result))
    load_curves(result, options.out / "serving.png")
    print(report(result))


if __name__ == "__main__":
    main()
