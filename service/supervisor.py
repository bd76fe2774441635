"""Several serving processes on one port: started, watched, replaced, reloaded and stopped together.

All accept from the same sockets, so what a process that is dead, stopped or hung does not take,
the others do. Each has a pipe to the supervisor: through it it asks to serve, answers pings and
reloads; its end tells a process that the supervisor is gone, and the supervisor signals nobody
but its own. Metrics are summed over processes by prometheus_client, which needs its folder named
before they start.
"""

from __future__ import annotations

import logging
import logging.config
import math
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import time
from contextlib import ExitStack
from multiprocessing import resource_tracker
from multiprocessing.connection import wait

from prometheus_client.multiprocess import mark_process_dead

from spikeserve.models.engines.cores import usable_cores
from spikeserve.models.engines.kernels import SHARED_VARIABLE
from spikeserve.models.errors import ModelError
from spikeserve.service.metrics import FOLDER
from spikeserve.service.processes.channel import Place, Said
from spikeserve.service.processes.child import Child, Launched
from spikeserve.service.processes.door import ABSENT
from spikeserve.service.processes.listeners import addresses, listeners
from spikeserve.service.processes.reload import Reload
from spikeserve.service.processes.signals import kept_from_children, remembered, supervised
from spikeserve.service.server import LAST_WORDS_S, logging_config, serve
from spikeserve.service.settings import Settings

logger = logging.getLogger("spikeserve")

LOOK_S = 0.2
SILENCE_S = 5.0
"""An event loop may be busy for so long, whatever a timestep may take."""
LONGEST_LOAD_S = 600.0
MARGIN_S = 5.0
SHARED_MEMORY = "/dev/shm"
STOPPING = "the service is shutting down"
MOST_FAILURES = 3
"""In a row, where no process has lasted: a bundle that kills them, say."""


def supervise(settings: Settings) -> int:
    """Run ``settings.workers`` processes until told to stop; returns the exit status."""
    threads = settings.engine_threads or max(1, usable_cores() // settings.workers)
    own = settings.model_copy(update={"engine_threads": threads})
    logging.config.dictConfig(logging_config(settings))
    with tempfile.TemporaryDirectory(prefix="spikeserve-metrics-", dir=_place()) as folder:
        os.environ[FOLDER] = os.environ[SHARED_VARIABLE] = folder
        return Supervisor(own).run()


def _place() -> str:
    """The folder for temporary files, or shared memory where a read-only disk leaves none."""
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        return SHARED_MEMORY


class Supervisor:
    """Holds the sockets and the processes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._context = multiprocessing.get_context("spawn")
        self._crowds = self._context.RawArray("l", [ABSENT] * settings.workers)
        self._children = [Child(number) for number in range(settings.workers)]
        self._sockets = ExitStack()
        self._listeners = self._sockets.enter_context(listeners(settings))
        self._silent_looks = max(SILENCE_S, settings.step_timeout_seconds) / LOOK_S
        drain = settings.drain_delay_seconds + settings.drain_seconds + LAST_WORDS_S + MARGIN_S
        self._overdue_looks = {"loading": LONGEST_LOAD_S / LOOK_S, "leaving": drain / LOOK_S}
        self._next_look = 0.0
        self._signals: list[int] = []
        self._stopping = 0
        self._status = 0
        self._identity = ""
        """Of the models that everybody serves."""
        self._reload: Reload | None = None
        self._reload_due = False
        self._askers: list[Child] = []

    def run(self) -> int:
        for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(sig, lambda sig, _: self._signals.append(sig))
        self._wake, wake = socket.socketpair()  # a signal ends the wait for messages
        for end in (self._wake, wake):
            end.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        remembered()
        resource_tracker.ensure_running()
        where = addresses(self._settings, self._listeners)
        logger.info("%d processes on %s", len(self._children), where)
        with self._sockets, self._wake, wake:
            while not (self._stopping and all(c.phase == "away" for c in self._children)):
                self._turn()
            signal.set_wakeup_fd(-1)
        return self._status

    def _turn(self) -> None:
        """Listen until the next look at the latest, then do whatever is due."""
        connections = [child.connection for child in self._children if child.connection]
        ready = wait([self._wake, *connections], max(0.0, self._next_look - time.monotonic()))
        if self._wake in ready:
            self._wake.recv(1024)
        while self._signals:
            self._obey(self._signals.pop(0))
        for child in self._children:
            for said, detail in child.heard():
                self._heard(child, said, detail)
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOOK_S
            for child in self._children:
                self._look(child)
            if os.getpid() == 1:
                self._reap_strangers()
        if not self._stopping:
            self._proceed()

    def _obey(self, sig: int) -> None:
        if sig == signal.SIGHUP:
            self._reload_due = True
            return
        self._stopping += 1
        for listener in self._listeners:  # or who connects now would wait for nobody
            listener.close()
        for child in (*self._askers, *(self._reload.askers if self._reload else ())):
            child.tell("reloaded", STOPPING)
        for child in self._children:
            child.terminate(signal.SIGTERM if self._stopping == 1 else sig)

    def _heard(self, child: Child, said: Said, detail: str) -> None:
        match said:
            case "loaded":
                child.phase, child.identity = "loaded", detail
            case "pong":
                child.answered()
            case "unwell" if child.phase == "serving":  # engines do not recover
                logger.error("process %d is replaced; its engine fails: %s", child.pid, detail)
                child.leave(f"the engine hangs or fails: {detail}")
            case "reload" if self._stopping:
                child.tell("reloaded", STOPPING)
            case "reload":
                self._reload_due = True
                self._askers.append(child)
            case _ if self._reload:
                self._reload.heard(child, said, detail)

    def _look(self, child: Child) -> None:
        """Whatever ended is replaced; whatever will not work again is ended."""
        if child.phase == "away":
            if not self._stopping and time.monotonic() >= child.due:
                child.launch(self._started)
            return
        if child.exit_status is not None:
            self._bury(child)
            return
        child.look()
        if child.silent > self._silent_looks:
            logger.error("process %d shows no sign of life and is killed", child.pid)
            child.kill()
        elif child.overdue > self._overdue_looks.get(child.phase, math.inf):
            logger.error("process %d was %s for too long and is killed", child.pid, child.phase)
            child.kill()

    def _bury(self, child: Child) -> None:
        status, pid, served = child.exit_status, child.pid, child.served
        pause = child.bury()
        self._crowds[child.number] = ABSENT
        mark_process_dead(pid)  # type: ignore[no-untyped-call]
        if self._reload:
            self._reload.lost(child)
        if self._stopping:
            self._status = max(self._status, status or 0)
            return
        if all(other.phase == "away" for other in self._children):
            self._refuse_clients()
        refused = not served and 0 < (status or 0) < 128  # a bundle, say; not killed by somebody
        failed = refused or child.failures >= MOST_FAILURES
        if failed and not any(c.lasted or c.phase == "serving" for c in self._children):
            print("spikeserve: a process ends right after it starts", file=sys.stderr)
            self._status = 1
            self._obey(signal.SIGTERM)
        else:
            logger.error("process %d ended with %s; the next starts in %g s", pid, status, pause)

    def _refuse_clients(self) -> None:
        """Nobody is left to accept: better refused than waiting for nobody."""
        if not self._settings.uds:  # 0 was any port
            port = self._listeners[0].getsockname()[1]
            self._settings = self._settings.model_copy(update={"port": port})
        self._sockets.close()
        self._listeners = self._sockets.enter_context(listeners(self._settings))

    def _proceed(self) -> None:
        """Let in who has loaded, end a reload that is done, begin one that is due."""
        if self._reload and self._reload.done:
            self._finish(self._reload)
            self._reload = None
        if self._reload:
            return
        for child in self._children:
            if child.phase == "loaded":
                self._admit(child)
        members = [child for child in self._children if child.phase == "serving"]
        if self._reload_due and members:  # who loads meanwhile is compared when it has
            self._reload = Reload(members, self._askers)
            self._reload_due, self._askers = False, []

    def _admit(self, child: Child) -> None:
        """Let a process serve if it has loaded what the others serve, or is the first."""
        others = any(other.phase == "serving" for other in self._children)
        if others and child.identity != self._identity:
            logger.error(
                "process %d has loaded other bundles than the others serve and must not serve them "
                "beside; reload, or put the old ones back", child.pid,
            )  # fmt: skip
            child.terminate()
        else:
            self._identity = child.identity
            child.serve()

    def _finish(self, reload: Reload) -> None:
        if reload.refusal:
            logger.error("reload refused, everything stays as it was: %s", reload.refusal)
        else:
            self._identity = reload.identity
            logger.info("all processes reloaded")
            for child in self._children:
                child.forgive()  # what it loads may fit now
        for child in reload.askers:
            child.tell("reloaded", reload.refusal)

    def _started(self, number: int) -> Launched:
        ours, theirs = self._context.Pipe()
        place = Place(theirs, self._listeners, self._crowds, number)
        process = self._context.Process(target=_serve, args=(self._settings, place), daemon=True)
        with kept_from_children():
            process.start()
        theirs.close()
        return process, ours

    def _reap_strangers(self) -> None:
        """As PID 1: orphans of others end here, and nobody else waits for them."""
        ours = {child.pid for child in self._children}
        try:
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if ended.si_pid in ours:
                    return  # its own look is to come
                os.waitpid(ended.si_pid, 0)
        except ChildProcessError:
            return


def _serve(settings: Settings, place: Place) -> None:
    supervised()
    try:
        status = serve(settings, place)
    except (ModelError, OSError) as error:
        print(f"spikeserve: {error}", file=sys.stderr)
        status = 1
    sys.exit(status)
