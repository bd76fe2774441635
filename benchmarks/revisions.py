"""This checkout against another one, in one run: has a change cost anything?

    git worktree add ../before REVISION
    python -m benchmarks.revisions ../before

Engines first: a process a checkout, which take turns repetition by repetition on the same images.
Then servers: both under a closed loop, in turns as well, with one core for the server and one for
the load, and with two that they share. Ratios are new over old within a repetition: times above 1
and capacities below 1 are losses.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.progress import track

from benchmarks.engines import SETTINGS
from benchmarks.machine import machine
from benchmarks.servers import Server
from benchmarks.serving import settings, write
from benchmarks.trials import Load, Plan, check, closed_turns, repeated, started
from spikeserve.models.bundle import load_bundle
from spikeserve.service.settings import DEFAULT_BUNDLE
from spikeserve.training.data import DATASETS

ENGINES = ("event", "onnx")
TIMER = """
import importlib, json, sys, time
from pathlib import Path
import numpy as np

prefix, folder, images = sys.argv[1], Path(sys.argv[2]), np.load(sys.argv[3])
load = importlib.import_module(prefix + "models.bundle").load_bundle
build = importlib.import_module(prefix + "models.engines.selection").build_engine
classify = importlib.import_module(prefix + "models.inference").classify
bundle, engines = load(folder), {}
for line in sys.stdin:
    name, threads, batch, threshold = json.loads(line)
    if (name, threads) not in engines:
        engines[name, threads] = build(bundle, name, threads)
    engine, policy = engines[name, threads], bundle.manifest.policy(entropy_threshold=threshold)
    for warm in (True, False):
        count = batch if warm else len(images)
        started = time.perf_counter()
        for k in range(0, count, batch):
            rows = images[k : k + batch]
            classify(engine, bundle.manifest, rows, [policy] * len(rows))
        spent = time.perf_counter() - started
    print(spent * 1000 / len(images), flush=True)
"""


def prefix_of(checkout: Path) -> str:
    """Before version 0.2 the packages stood at the top."""
    return "spikeserve." if (checkout / "spikeserve").is_dir() else ""


class Timer:
    """A process that times a checkout's engines when it is told to."""

    def __init__(self, checkout: Path, images: Path) -> None:
        arguments = (prefix_of(checkout), str(DEFAULT_BUNDLE.resolve()), str(images))
        self._process = subprocess.Popen(
            [sys.executable, "-c", TIMER, *arguments],
            cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip

    def milliseconds(self, engine: str, threads: int, batch: int, threshold: float | None) -> float:
        """An image's, over all images."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([engine, threads, batch, threshold]) + "\n")
        return float(self._process.stdout.readline())

    def end(self) -> None:
        self._process.communicate()


def engine_lines(checkouts: tuple[Path, Path], images: Path, repetitions: int) -> list[str]:
    """New and old milliseconds an image, and their ratio, a row a way to run."""
    lines = ["| engine | old ms | new ms | new over old |", "|---|---|---|---|"]
    timers = [Timer(checkout, images) for checkout in checkouts]
    ways = [(e, *setting, exit_) for e in ENGINES for setting in SETTINGS for exit_ in (None, 0.0)]
    try:
        for engine, threads, batch, threshold in track(ways, "engines", transient=True):
            times: list[list[float]] = [[], []]
            for repetition in range(repetitions + 1):
                for index in (0, 1) if repetition % 2 else (1, 0):
                    spent = timers[index].milliseconds(engine, threads, batch, threshold)
                    times[index].append(spent)
            new, old = (spent[1:] for spent in times)  # the first builds the engine
            way = "all T" if threshold == 0 else "early exit"
            lines.append(
                f"| {engine}, {way}, threads {threads}, batch {batch} | "
                f"{statistics.median(old):.3f} | {statistics.median(new):.3f} | {ratio(new, old)} |"
            )
    finally:
        for timer in timers:
            timer.end()
    return lines


def server_lines(checkouts: tuple[Path, Path], folder: Path, repetitions: int) -> list[str]:
    """Answers a second of both, their 99th percentiles, and ratios; a line a setting."""
    bundle = load_bundle(DEFAULT_BUNDLE)
    pictures, logs = folder / "pictures", folder / "logs"
    pictures.mkdir()
    logs.mkdir()
    images = np.load(folder / "images.npy")
    picture = write(images, pictures)
    plan = Plan(images=len(images), repetitions=repetitions)
    flags = ("--engine", "event", "--log-level", "warning")
    bundled = (*flags, "--bundle", str(DEFAULT_BUNDLE.resolve()))
    servers = [
        Server(name, f"{prefix_of(checkout)}service", bundled, "--engine-threads", folder=checkout)
        for name, checkout in zip(("new", "old"), checkouts, strict=True)
    ]
    lines = []
    for setting, where in zip(settings(), ("one core", "two shared cores"), strict=True):
        load = Load(setting, pictures, plan)
        with started(servers, setting, picture, logs) as processes:
            for process in processes.values():
                check(process, load, bundle, images, ())
            runs = repeated(closed_turns(list(processes.values()), load, ()), repetitions)
        rates = [[run["rate"] for run in runs[name]] for name in ("new", "old")]
        slowest = [[run["ms"]["p99"] for run in runs[name]] for name in ("new", "old")]
        lines.append(
            f"{where}, {plan.connections} connections: answers a second {compared(0, *rates)}; "
            f"99th percentile in ms {compared(1, *slowest)}."
        )
    return lines


def compared(digits: int, new: Sequence[float], old: Sequence[float]) -> str:
    """Medians, and the ratio within repetitions."""
    before, after = statistics.median(old), statistics.median(new)
    return f"old {before:.{digits}f}, new {after:.{digits}f}, {ratio(new, old)}"


def ratio(new: Sequence[float], old: Sequence[float]) -> str:
    """Median and range over repetitions."""
    ratios = [mine / theirs for mine, theirs in zip(new, old, strict=True)]
    return f"{statistics.median(ratios):.3f} ({min(ratios):.2f}…{max(ratios):.2f})"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("other", type=Path, help="a checkout of the older revision")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--servers-only", action="store_true", help="where no engine has changed")
    options = parser.parse_args(arguments)
    checkouts = (Path.cwd(), options.other.resolve())
    test = DATASETS["cifar10"].test(options.data).images
    with tempfile.TemporaryDirectory(prefix="revisions-") as name:
        folder = Path(name)
        np.save(folder / "images.npy", test[:: len(test) // options.images][: options.images])
        if not options.servers_only:
            print(*engine_lines(checkouts, folder / "images.npy", options.repetitions), sep="\n")
        print("", *server_lines(checkouts, folder, options.repetitions), sep="\n")
    facts = machine()
    print(f"\n{facts['processor']}, {facts['cores']} cores, {options.repetitions} repetitions.")


if __name__ == "__main__":
    main()
