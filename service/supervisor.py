"""Several serving processes on one port: started, watched, restarted and stopped together.

Each has its own listening socket on the same port, so the kernel shares connections out;
the sockets stay open here while a process is restarted. Metrics are summed over processes
by prometheus_client, which needs its folder named before they start.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import time
from multiprocessing.context import SpawnProcess

from prometheus_client.multiprocess import mark_process_dead

from spikeserve.models.engines.cores import usable_cores
from spikeserve.models.errors import ModelError
from spikeserve.service.server import serve
from spikeserve.service.settings import Settings

logger = logging.getLogger("spikeserve")

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
POLL_S = 0.2
QUICK_DEATH_S = 5.0


def supervise(settings: Settings) -> int:
    """Run ``settings.workers`` processes until told to stop; returns the exit status."""
    threads = settings.engine_threads or max(1, usable_cores() // settings.workers)
    own = settings.model_copy(update={"engine_threads": threads})
    with tempfile.TemporaryDirectory(prefix="spikeserve-metrics-") as folder:
        os.environ[FOLDER] = folder
        return Supervisor(own).run()


class Supervisor:
    """Holds the sockets and the processes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._context = multiprocessing.get_context("spawn")
        self._listeners = _listeners(settings)
        self._processes: list[SpawnProcess] = []
        self._started: list[float] = []
        self._stopping = 0
        self._lasted = False

    def run(self) -> int:
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGHUP, lambda *_: self._tell(signal.SIGHUP))
        for listener in self._listeners:
            self._processes.append(self._launched(listener))
            self._started.append(time.monotonic())
        if self._stopping:  # while they were launched
            self._tell(signal.SIGTERM)
        host, port = self._listeners[0].getsockname()[:2]
        print(
            f"spikeserve: {len(self._processes)} processes on {host} port {port}", file=sys.stderr
        )
        while not self._stopping:
            time.sleep(POLL_S)
            if not all(self._kept_alive(number) for number in range(len(self._processes))):
                print("spikeserve: a process ends right after it starts", file=sys.stderr)
                self._stop(signal.SIGTERM)
                self._join()
                return 1
        return self._join()

    def _launched(self, listener: socket.socket) -> SpawnProcess:
        process = self._context.Process(target=_serve, args=(self._settings, listener))
        process.start()
        return process

    def _kept_alive(self, number: int) -> bool:
        """Restart a process that ended; False if none has ever lasted."""
        process = self._processes[number]
        if process.is_alive() or self._stopping:
            return True
        mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
        logger.error("a serving process ended with %s", process.exitcode)
        now = time.monotonic()
        self._lasted = self._lasted or any(now - at >= QUICK_DEATH_S for at in self._started)
        if not self._lasted:
            return False
        self._processes[number] = self._launched(self._listeners[number])
        self._started[number] = time.monotonic()
        if self._stopping:  # meanwhile; it was not there to be told
            self._tell(signal.SIGTERM)
        return True

    def _stop(self, sig: int, *_: object) -> None:
        self._stopping += 1
        self._tell(signal.SIGTERM if self._stopping == 1 else sig)

    def _tell(self, sig: int) -> None:
        for process in self._processes:
            if process.is_alive() and process.pid:
                os.kill(process.pid, sig)

    def _join(self) -> int:
        for listener in self._listeners:  # or who connects now would wait for nobody
            listener.close()
        for process in self._processes:
            process.join()
        # Who died of SIGTERM had not begun to serve: nothing was lost.
        ends = (process.exitcode or 0 for process in self._processes)
        return max(0 if end == -signal.SIGTERM else abs(end) for end in ends)


def _listeners(settings: Settings) -> list[socket.socket]:
    """One socket a process, all on the same port.

    Raises:
        OSError: somebody listens there.
    """
    listeners: list[socket.socket] = []
    port = settings.port
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as alone:  # sharing the port would not notice another supervisor
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind((settings.host, port))
    for _ in range(settings.workers):
        listener = socket.socket(family)
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            listener.setsockopt(socket.SOL_SOCKET, option, 1)
        listener.bind((settings.host, port))
        listener.listen(2048)
        port = listener.getsockname()[1]
        listeners.append(listener)
    return listeners


def _serve(settings: Settings, listener: socket.socket) -> None:
    try:
        status = serve(settings, listener)
    except ModelError as error:
        print(f"spikeserve: {error}", file=sys.stderr)
        status = 1
    sys.exit(status)
