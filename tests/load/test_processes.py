"""Real processes: signals while they start, one that cannot come back, none to supervise."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.conftest import encoded
from tests.load.answers import World
from tests.load.servers import Service, served
from tests.load.test_kill import serving_processes, slots
from tests.processes import PATIENCE_SECONDS, free_port, wait_until, wait_until_ready
from tests.programs import save_tiny_bundle

SMALL = ("--engine", "reference", "--slots", "4")
FOLDER_AWAY_S = 10

pytestmark = pytest.mark.verify


@contextmanager
def starting(world: World, log: Path, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
    """A service in a group of its own, from its first moment."""
    command: Sequence[str] = [sys.executable, "-m", "spikeserve.service"]
    with (
        log.open("w") as output,
        subprocess.Popen(
            [*command, "--bundle", str(world.folder), *SMALL, *flags],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("after", [0.2, 0.6, 1.0, 1.5, 2.0])
def test_a_signal_while_it_starts(tiny: World, tmp_path: Path, workers: str, after: float) -> None:
    """As a closed terminal, a service manager and Ctrl-C send them: to the whole group."""
    port, log = free_port(), tmp_path / "log"
    flags = ("--workers", workers, "--port", str(port))
    with starting(tiny, log, *flags) as process:
        time.sleep(after)
        os.killpg(process.pid, signal.SIGHUP)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            wait_until_ready(process, client, "/readyz", log)
        wait_until(lambda: "reloaded" in log.read_text(), "the reload was forgotten")
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0
    for sig in (signal.SIGTERM, signal.SIGINT):
        with starting(tiny, log, *flags) as process:
            time.sleep(after)
            os.killpg(process.pid, sig)
            assert process.wait(PATIENCE_SECONDS) in {0, -sig}  # before its first line of code


def test_one_that_cannot_come_back(tmp_path: Path, png: bytes) -> None:
    """Its bundle folder is away: the other serves everybody, and it returns with the folder."""
    folder, away = save_tiny_bundle(tmp_path / "tiny"), tmp_path / "away"
    with served(folder, tmp_path, *SMALL, "--workers", "2") as service:
        wait_until(lambda: slots(service) == 8, "two processes never served")
        folder.rename(away)
        os.kill(serving_processes(service)[0], signal.SIGKILL)
        until, asked = time.monotonic() + FOLDER_AWAY_S, 0
        while time.monotonic() < until:
            with httpx.Client(trust_env=False) as client:
                address = f"http://127.0.0.1:{service.port}"
                assert client.post(f"{address}/classify", content=png).status_code == 200
                asked += 1
        (log,) = tmp_path.glob("*.log")
        attempts = log.read_text().count("the next starts in")
        away.rename(folder)
        wait_until(lambda: slots(service) == 8, "it never came back")
    print(
        f"\nits folder away for {FOLDER_AWAY_S} s: {attempts} attempts, {asked} of {asked} answered"
    )
    assert attempts <= 5


@pytest.mark.parametrize("after", [0.0, 3.0])
def test_processes_end_without_their_supervisor(tiny: World, tmp_path: Path, after: float) -> None:
    with starting(tiny, tmp_path / "log", "--workers", "2", "--port", "0") as process:
        service = Service(process, 0, httpx.Client())
        wait_until(lambda: len(serving_processes(service)) == 2, "no process was started")
        time.sleep(after)
        orphans = serving_processes(service)
        process.kill()
        process.wait()
        wait_until(
            lambda: not any(Path(f"/proc/{orphan}/cmdline").exists() for orphan in orphans),
            "they serve on, and hold the port",
        )


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # refused in httpcore
@pytest.mark.parametrize("workers", ["1", "2"])
def test_on_a_unix_socket(tiny: World, tmp_path: Path, workers: str) -> None:
    path, log = tmp_path / "socket", tmp_path / "log"
    flags = ("--workers", workers, "--uds", str(path))
    for end in (signal.SIGKILL, signal.SIGTERM):  # what the first leaves is replaced
        with (
            starting(tiny, log, *flags) as process,
            httpx.Client(
                transport=httpx.HTTPTransport(uds=str(path)), base_url="http://localhost"
            ) as client,
        ):
            wait_until_ready(process, client, "/readyz", log)
            body = encoded(tiny.images[0])
            assert client.post("/classify", content=body).status_code == 200
            with starting(tiny, tmp_path / "second", *flags) as second:
                assert second.wait(PATIENCE_SECONDS) == 1
            assert client.get("/readyz").status_code == 200
            os.killpg(process.pid, end)
            process.wait(PATIENCE_SECONDS)
            assert path.exists() == (end is signal.SIGKILL)
    assert process.returncode == 0
