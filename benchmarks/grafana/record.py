"""A real run: a service of two bundles, its visitors, and the Prometheus that watches it."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import yaml

from benchmarks.grafana.visitors import files, visit
from spikeserve.models.bundle import load_manifest
from spikeserve.service.settings import DEFAULT_BUNDLE
from spikeserve.training.data import titled

HOST = "127.0.0.1"
BUNDLES = (DEFAULT_BUNDLE, DEFAULT_BUNDLE.with_name("hybrid-vgg8-cifar100"))
# Narrow, so that a rush fills it: the picture is to show refusals and brownout.
SERVICE = (
    *("--slots", "8", "--queue-timesteps", "96", "--brownout", "on", "--engine-threads", "1"),
    *("--log-level", "warning"),
)
CONFIG = Path("deploy/prometheus")
TIMES = "times.json"
PICTURES = 400
PATIENCE_S = 120
LEAD_S = 12  # rates need two scrapes before anything happens


def record(folder: Path, data: Path, minutes: float) -> None:
    """Run for so long; ``folder`` then holds Prometheus' database and when the run was.

    Raises:
        FileNotFoundError: Prometheus is not installed.
        RuntimeError: a server does not start.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    manifests = [load_manifest(bundle) for bundle in BUNDLES]
    pictures = {
        manifest.name: files(titled(manifest.provenance.dataset).test(data).images[:PICTURES])
        for manifest in manifests
    }
    port = free_port()
    command = [
        *(sys.executable, "-m", "spikeserve.service", "--host", HOST, "--port", str(port)),
        *(word for bundle in BUNDLES for word in ("--bundle", str(bundle))),
        *SERVICE,
    ]
    config = yaml.safe_load((CONFIG / "prometheus.yml").read_text())
    config["rule_files"] = [str((CONFIG / name).resolve()) for name in config["rule_files"]]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [f"{HOST}:{port}"]}]
    with (
        running(command, f"http://{HOST}:{port}/readyz", folder / "service.log"),
        prometheus(folder, config),
    ):
        time.sleep(LEAD_S)
        started = time.time()
        asyncio.run(visit(HOST, port, pictures, minutes * 60))
        ended = time.time()
    (folder / TIMES).write_text(json.dumps({"start": started, "end": ended}) + "\n")


@contextmanager
def prometheus(folder: Path, config: object) -> Iterator[str]:
    """The address of a Prometheus with this configuration and the database in ``folder``."""
    program = shutil.which("prometheus")
    if program is None:
        raise FileNotFoundError(
            "prometheus is not installed; on Debian: apt-get install prometheus"
        )
    address = f"{HOST}:{free_port()}"
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'database'}",
        f"--web.listen-address={address}",
    ]
    with running(command, f"http://{address}/-/ready", folder / "prometheus.log"):
        yield f"http://{address}"


@contextmanager
def running(command: Sequence[str], ready: str, log: Path) -> Iterator[None]:
    """A server process, from when ``ready`` answers 200 to when it has ended."""
    with (
        log.open("w") as output,
        subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process,
    ):
        try:
            _wait(process, ready, log)
            yield
        finally:
            process.terminate()


def _wait(process: subprocess.Popen[bytes], ready: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if httpx.get(ready, trust_env=False).status_code == httpx.codes.OK:
                return
        time.sleep(0.1)
    raise RuntimeError(f"{process.args!r} does not answer:\n{log.read_text()}")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port
