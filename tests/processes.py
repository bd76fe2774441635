"""Real servers in processes of their own, on free loopback ports."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

PATIENCE_SECONDS = 60


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.05)


def wait_until_ready(
    process: subprocess.Popen[bytes], client: httpx.Client, ready: str, log: Path
) -> None:
    """Until ``ready`` answers 200; a process that ends first is an error."""

    def answers() -> bool:
        assert process.poll() is None, f"{process.args!r} ended:\n{log.read_text()}"
        try:
            return client.get(ready).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    wait_until(answers, f"{client.base_url}{ready} never answered 200")


@contextmanager
def running(command: Sequence[str], port: int, ready: str, log: Path) -> Iterator[httpx.Client]:
    """A server process, from when ``ready`` answers 200; it must stop cleanly on SIGTERM."""
    base_url = f"http://127.0.0.1:{port}"
    with (
        log.open("w") as output,
        subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process,
        httpx.Client(base_url=base_url, trust_env=False) as client,
    ):
        try:
            wait_until_ready(process, client, ready, log)
            yield client
        finally:
            process.send_signal(signal.SIGTERM)
            status = process.wait(PATIENCE_SECONDS)
    assert status == 0, f"{command[0]} ended with {status}:\n{log.read_text()}"


@contextmanager
def running_service(bundle: Path, log: Path) -> Iterator[httpx.Client]:
    """``python -m service`` with one bundle."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "spikeserve.service", "--host", "127.0.0.1", "--port", str(port)),
        *("--bundle", str(bundle)),
    ]
    with running(command, port, "/readyz", log) as client:
        yield client
