"""Who serves: SpikeServe and its peers, each startable in a process of its own."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

OURS = "SpikeServe, event engine"
OURS_ONNX = "SpikeServe, onnx engine"
OURS_PROCESSES = "SpikeServe, event engine, a process a core"
WHOLE = "request batches, whole, {} engine"
SHRINKING = "request batches, shrinking, {} engine"
BARE = "the bare route"

NOT_INSTALLABLE = {
    "BentoML": "1.4.40 asks for a newer certifi than the pinned one, and 1.4.39 for OpenTelemetry "
    "packages that cannot be resolved beside the other pins"
}


@dataclass(frozen=True)
class Server:
    """One way to serve the bundle.

    Args:
        threads: the flag that says how many threads its engine may use.
        processes: the flag that says how many processes serve, where it takes one;
            each of them then runs its engine on one thread.
        early_exit: False runs all timesteps.
        library: what must be installed.
        folder: the checkout it runs from, where that is another one.
    """

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    threads: str = "--threads"
    processes: str | None = None
    early_exit: bool = True
    library: str | None = None
    folder: Path | None = None

    def command(self, port: int, cores: int) -> list[str]:
        split = self.processes is not None
        return [
            *(sys.executable, "-m", self.module, "--port", str(port), *self.arguments),
            *(self.threads, str(1 if split else cores)),
            *((self.processes, str(cores)) if self.processes else ()),
        ]

    @property
    def missing(self) -> str | None:
        """Why it cannot run here."""
        if self.library is None or find_spec(self.library):
            return None
        return f"{self.library} is not installed"


def _ours(name: str, engine: str, processes: str | None = None) -> Server:
    flags = ("--engine", engine, "--log-level", "warning")
    return Server(name, "spikeserve.service", flags, "--engine-threads", processes)


def _peer(name: str, file: str, engine: str, *flags: str, early_exit: bool = True) -> Server:
    arguments = ("--engine", engine, *flags)
    return Server(name, f"benchmarks.servers.{file}", arguments, early_exit=early_exit)


def _lit(name: str, engine: str, *flags: str) -> Server:
    arguments = ("--engine", engine, *flags)
    return Server(
        f"LitServe, {name}, {engine} engine", "benchmarks.servers.lit", arguments,
        processes="--processes", library="litserve",
    )  # fmt: skip


SERVERS = (
    _ours(OURS, "event"),
    _ours(OURS_PROCESSES, "event", "--workers"),
    _ours(OURS_ONNX, "onnx"),
    _peer("FastAPI, all T, event engine", "plain", "event", "--all-timesteps", early_exit=False),
    _peer("FastAPI, one by one, event engine", "plain", "event"),
    _peer("FastAPI, one by one, onnx engine", "plain", "onnx"),
    *(
        _peer(name.format(engine), "batching", engine, *flags)
        for engine in ("event", "onnx")
        for name, flags in ((WHOLE, ()), (SHRINKING, ("--shrinking",)))
    ),
    _lit("one by one", "event"),
    _lit("one by one", "onnx"),
    _lit("batches", "onnx", "--batched"),
    Server(BARE, "benchmarks.servers.bare"),
)
