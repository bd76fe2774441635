"""Server processes on chosen cores: started, paused while others are measured, and always ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from benchmarks.servers import Server

PATIENCE_S = 120
GRACE_S = 10
PINS = hasattr(os, "sched_setaffinity")


@contextmanager
def on_cores(cores: set[int]) -> Iterator[None]:
    """Processes started inside run on these cores, where the system lets us choose."""
    if not PINS:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class ServerProcess:
    """A server with all its child processes, as one group."""

    def __init__(self, server: Server, cores: set[int], picture: bytes, log: Path) -> None:
        self.server = server
        self.port = _free_port()
        self._picture = picture
        self._log = log
        # Settings of whoever runs the benchmark are not part of it.
        plain = {k: v for k, v in os.environ.items() if not k.startswith("SPIKESERVE_")}
        with log.open("w") as output, on_cores(cores):
            self._process = subprocess.Popen(
                server.command(self.port, len(cores)),
                stdout=output, stderr=subprocess.STDOUT, env=plain, start_new_session=True,
                cwd=server.folder,
            )  # fmt: skip

    def wait(self) -> None:
        """Until it answers; also after a load, when everything older has then been answered.

        Raises:
            RuntimeError: it ended, or never answers.
        """
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with suppress(httpx.TransportError), httpx.Client(trust_env=False) as client:
                answer = client.post(
                    f"http://127.0.0.1:{self.port}/classify", content=self._picture,
                    headers={"Content-Type": "image/png"}, timeout=PATIENCE_S,
                )  # fmt: skip
                if answer.status_code == httpx.codes.OK:
                    return
            time.sleep(0.1)
        raise RuntimeError(f"{self.server.name} does not answer:\n{self._log.read_text()}")

    def metrics(self) -> str:
        return httpx.get(f"http://127.0.0.1:{self.port}/metrics", trust_env=False).text

    @property
    def processor_seconds(self) -> float:
        """Taken so far by its first process: by Linux's account, in hundredths."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    @property
    def peak_mib(self) -> int:
        """The most memory that its first process has held."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        (peak,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
        return int(peak) >> 10

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        self.resume()
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_S)
        self._signal(signal.SIGKILL)  # children that outlive their parent
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
