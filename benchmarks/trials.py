"""Servers under load: all started and paused, one awake at a time, its answers checked first."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.contenders import Pixels
from benchmarks.goodput import (
    collapsed,
    goodput,
    rates_for,
    spread,
)
from benchmarks.outcomes import OBJECTIVES_MS, Document, thresholds_of
from benchmarks.servers import (
    BARE,
    Server,
)
from benchmarks.servers.processes import ServerProcess, on_cores
from spikeserve.models.bundle import Bundle
from spikeserve.models.engines.selection import build_engine
from spikeserve.models.inference import classify

SEED = 1
REQUESTS_PER_RUN = 600
QUICK_RATES = 2
PATIENCE_S = 180

Turn = Callable[[], Document]

console = Console(stderr=True)


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    images: int = 512
    repetitions: int = 9
    connections: int = 32
    warm_s: float = 0.8
    closed_s: float = 1.5
    open_s: tuple[float, float] = (2.5, 5.0)
    timeout_s: float = 1.0
    quick: bool = False

    def seconds(self, rate: float) -> float:
        """Longer where few requests arrive."""
        shortest, longest = self.open_s
        return min(longest, max(shortest, REQUESTS_PER_RUN / rate))

    def rates(self, capacity: float) -> list[int]:
        rates = rates_for(capacity)
        return rates[:: max(1, len(rates) // QUICK_RATES)][:QUICK_RATES] if self.quick else rates


QUICK = Plan(64, 1, 16, 0.2, 0.5, (0.5, 0.5), 0.5, quick=True)


@dataclass(frozen=True)
class Setting:
    """Where servers and load run."""

    server: frozenset[int]
    load: frozenset[int]


class Load:
    """Starts the load generator on its cores."""

    def __init__(self, setting: Setting, pictures: Path, plan: Plan) -> None:
        self._setting = setting
        self._pictures = pictures
        self._plan = plan

    def closed(self, server: ServerProcess, mix: Sequence[float]) -> Document:
        plan = self._plan
        flags = {"warm": plan.warm_s, "seconds": plan.closed_s, "connections": plan.connections}
        return self._run("closed", server, mix, flags)

    def once(self, server: ServerProcess, mix: Sequence[float]) -> Document:
        return self._run("once", server, mix, {"connections": self._plan.connections})

    def open(self, server: ServerProcess, mix: Sequence[float], rate: float) -> Document:
        plan = self._plan
        flags = {"rate": rate, "seconds": plan.seconds(rate), "timeout": plan.timeout_s}
        return {"rate": rate, **self._run("open", server, mix, flags)}

    def _run(
        self, mode: str, server: ServerProcess, mix: Sequence[float], flags: dict[str, float]
    ) -> Document:
        command = [
            *(sys.executable, "-m", "benchmarks.load", mode, "--port", str(server.port)),
            *("--pictures", str(self._pictures), "--seed", str(SEED)),
            *(text for name, value in flags.items() for text in (f"--{name}", str(value))),
            *(("--thresholds", *map(str, mix)) if mix else ()),
        ]
        with on_cores(set(self._setting.load)):
            done = subprocess.run(
                command, stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE_S
            )
        document: Document = json.loads(done.stdout)
        return document


@contextmanager
def started(
    servers: Sequence[Server], setting: Setting, picture: bytes, logs: Path
) -> Iterator[dict[str, ServerProcess]]:
    """All servers, started one after another and paused; ended in any case."""
    with ExitStack() as stack:
        processes = {}
        for server in servers:
            console.log(f"starting {server.name}")
            log = logs / f"{len(list(logs.iterdir()))}.log"
            process = ServerProcess(server, set(setting.server), picture, log)
            stack.callback(process.end)
            process.wait()
            process.pause()
            processes[server.name] = process
        yield processes


@contextmanager
def awake(server: ServerProcess) -> Iterator[ServerProcess]:
    """Not paused inside, and done with everything at the end."""
    server.resume()
    try:
        yield server
        server.wait()
    finally:
        server.pause()


def expected(bundle: Bundle, images: Pixels, mix: Sequence[float]) -> tuple[list[int], list[int]]:
    """Classes and timesteps that our engine gives."""
    thresholds = thresholds_of(len(images), mix, SEED)
    policies = [bundle.manifest.policy(entropy_threshold=threshold) for threshold in thresholds]
    rows = classify(build_engine(bundle, "event", 1), bundle.manifest, images, policies)
    return [int(np.argmax(row.logit_sum)) for row in rows if row.logit_sum is not None], [
        row.t for row in rows
    ]


def check(
    server: ServerProcess, load: Load, bundle: Bundle, images: Pixels, mix: Sequence[float]
) -> None:
    """Raises RuntimeError where a server answers a picture otherwise than our engine."""
    if server.server.name == BARE:
        return
    asked = mix if server.server.early_exit else (0.0,)
    with awake(server):
        answers = load.once(server, mix)
    classes, timesteps = expected(bundle, images, asked)
    if answers["classes"] != classes or answers["timesteps"] != timesteps:
        raise RuntimeError(f"{server.server.name} answers otherwise: {answers['statuses']}")


def closed_turns(
    servers: Sequence[ServerProcess], load: Load, mix: Sequence[float]
) -> dict[str, Turn]:
    """A closed-loop run of every server."""

    def run(server: ServerProcess) -> Document:
        with awake(server):
            return load.closed(server, mix)

    return {server.server.name: partial(run, server) for server in servers}


def repeated(turns: Mapping[str, Turn], repetitions: int) -> dict[str, list[Document]]:
    """Every turn in every repetition, each of which starts one further.

    A machine drifts; what is compared ran within the same seconds.
    """
    runs: dict[str, list[Document]] = {name: [] for name in turns}
    names = list(turns)
    for repetition in range(repetitions):
        console.log(f"capacity, repetition {repetition + 1}")
        shift = repetition % len(names)
        for name in [*names[shift:], *names[:shift]]:
            runs[name].append(turns[name]())
    return runs


def stepped(server: ServerProcess, load: Load, mix: Sequence[float], rates: list[int]) -> Any:
    """Open-loop runs at rising rates, until the server is clearly overrun."""
    console.log(f"rates {rates} for {server.server.name}")
    runs: list[Document] = []
    for rate in rates:
        with awake(server):
            runs.append(load.open(server, mix, rate))
        if collapsed(runs, max(OBJECTIVES_MS)):
            break
    return runs


def measured(
    servers: Sequence[ServerProcess],
    closed: Mapping[str, list[Document]],
    load: Load,
    mix: Sequence[float],
    plan: Plan,
    steps: set[str],
) -> dict[str, Document]:
    """Capacity of every server and, for those named in ``steps``, its runs at stepped rates."""
    rows = {}
    for server in servers:
        name = server.server.name
        capacity = spread([run["rate"] for run in closed[name]])
        rates = plan.rates(capacity["median"]) if name in steps else []
        runs = stepped(server, load, mix, rates)
        rows[name] = {
            "capacity": capacity,
            "client_cpu": spread([run["client_cpu"] for run in closed[name]]),
            "closed": closed[name],
            "runs": runs,
            "goodput": {str(ms): round(goodput(runs, ms), 1) for ms in OBJECTIVES_MS},
        }
    return rows
