"""One of several serving processes, as their supervisor sees it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Literal

from spikeserve.service.processes.channel import Order, Said

QUICK_DEATH_S = 5.0
"""Who ends earlier, counted from when it serves, has not lasted."""
LONGEST_PAUSE_S = 30.0
PING_LOOKS = 5

Phase = Literal["away", "loading", "loaded", "serving", "leaving"]
Launched = tuple[SpawnProcess, Connection]


class Child:
    """A place for a process, and the process that is in it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.phase: Phase = "away"
        self.identity = ""
        """Of the models that it has loaded."""
        self.silent = 0
        """At how many looks in a row it owed an answer."""
        self.overdue = 0
        """At how many looks it had not done yet what it was to do: load, or leave."""
        self.due = 0.0
        """When to start the next process, monotonic."""
        self.served = False
        """The process that is there now has been let in."""
        self.lasted = False
        self._failures = 0
        self._since = 0.0
        self._looks = 0
        self._pinged = False
        self._process: SpawnProcess | None = None
        self.connection: Connection | None = None

    @property
    def pid(self) -> int:
        return (self._process.pid or 0) if self._process else 0

    @property
    def failures(self) -> int:
        """How many processes in a row have not lasted."""
        return self._failures

    @property
    def exit_status(self) -> int | None:
        """Of a process that has ended, as a shell would say it; 0 if SIGTERM came before it had
        begun to load: nothing was lost.
        """
        code = self._process.exitcode if self._process else None
        if code == -signal.SIGTERM:
            return 0
        return code if code is None or code >= 0 else 128 - code

    def launch(self, start: Callable[[int], Launched]) -> None:
        self._process, self.connection = start(self.number)
        self.phase, self.identity = "loading", ""
        self.silent = self.overdue = self._looks = 0
        self._pinged = self.served = False

    def serve(self) -> None:
        self.tell("serve")
        self.phase, self.served, self._since = "serving", True, time.monotonic()

    def leave(self, why: str) -> None:
        """Finish what is inside and end."""
        self.tell("leave", why)
        self._goes()

    def look(self) -> None:
        """To be called at even intervals: counts looks, so that a machine that slept or stalled
        does not look like a process that hangs.
        """
        if self.phase == "serving" and time.monotonic() - self._since >= QUICK_DEATH_S:
            self.lasted, self._failures = True, 0
        if self.phase in {"loading", "leaving"}:
            self.overdue += 1
        self._looks += 1
        if self._pinged:
            self.silent += 1
        elif self.served and self._looks >= PING_LOOKS:
            self._looks, self._pinged = 0, True
            self.tell("ping")

    def answered(self) -> None:
        self._pinged, self.silent = False, 0

    def heard(self) -> list[tuple[Said, str]]:
        """What it has said since."""
        messages: list[tuple[Said, str]] = []
        try:
            while self.connection and self.connection.poll():
                messages.append(self.connection.recv())
        except (EOFError, OSError):
            self._hang_up()
        return messages

    def tell(self, order: Order, detail: str = "") -> None:
        """Say something; a process that has just ended need not hear it."""
        try:
            if self.connection:
                self.connection.send((order, detail))
        except OSError:
            self._hang_up()

    def send(self, sig: int) -> None:
        if self._process and self._process.is_alive():
            os.kill(self.pid, sig)

    def terminate(self, sig: int = signal.SIGTERM) -> None:
        self.send(sig)
        if self.phase != "away":
            self._goes()

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.silent = self.overdue = 0

    def bury(self) -> float:
        """It has ended; returns seconds until the next: 0, or twice as long after each failure."""
        lasted = self.served and time.monotonic() - self._since >= QUICK_DEATH_S
        self._failures = 0 if lasted else self._failures + 1
        pause = min(2.0 ** (self._failures - 1), LONGEST_PAUSE_S) if self._failures else 0.0
        self.due = time.monotonic() + pause
        self._hang_up()
        self.phase = "away"
        return pause

    def forgive(self) -> None:
        """Whatever kept it from serving is mended."""
        self._failures, self.due = 0, 0.0

    def _goes(self) -> None:
        if self.phase != "leaving":
            self.phase, self.overdue = "leaving", 0

    def _hang_up(self) -> None:
        if self.connection:
            self.connection.close()
            self.connection = None
