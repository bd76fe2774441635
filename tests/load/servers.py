"""Serving processes to be loaded, signalled, killed and started again on the same port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.processes import PATIENCE_SECONDS, free_port, wait_until_ready


class Series:
    """What a service counted."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._samples = [sample for family in families for sample in family.samples]

    def total(self, name: str, **labels: str) -> float:
        """The sum over all series of this name with these labels."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


class Service:
    """``python -m service`` with one bundle; ``client`` is for probes, not for load."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, client: httpx.Client) -> None:
        self.process = process
        self.port = port
        self.client = client

    def series(self) -> Series:
        response = self.client.get("/metrics")
        response.raise_for_status()
        return Series(parse(response.text))

    @property
    def threads(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    def kill(self) -> None:
        """As if the machine had lost it."""
        self.process.kill()
        self.process.wait()


@contextmanager
def served(
    bundle: Path,
    folder: Path,
    *flags: str,
    port: int = 0,
    counters: Path | None = None,
    module: str = "spikeserve.service",
) -> Iterator[Service]:
    """A service, from when it is ready; unless it has ended, it must stop cleanly on SIGTERM.

    Args:
        folder: where its log goes.
        counters: a folder where its counters outlive it, for ``counted``.
        module: what is run instead of the service.
    """
    port = port or free_port()
    command = [
        *(sys.executable, "-m", module, "--host", "127.0.0.1", "--port", str(port)),
        *("--bundle", str(bundle), *flags),
    ]
    log = folder / f"service-{port}.log"
    environment = dict(os.environ)
    if counters:
        counters.mkdir()
        environment["PROMETHEUS_MULTIPROC_DIR"] = str(counters)
    with (
        log.open("a") as output,
        subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment
        ) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        try:
            wait_until_ready(process, client, "/readyz", log)
            yield Service(process, port, client)
        except BaseException:
            process.kill()
            raise
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            status = process.wait(PATIENCE_SECONDS)
            assert status == 0, f"the service ended with {status}:\n{log.read_text()}"


def counted(counters: Path) -> Series:
    """What a service that has ended had counted."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(counters))  # type: ignore[no-untyped-call]
    return Series(registry.collect())
