"""When the worker's thread runs: what wakes it, and how long it waits.

- **Without rows it sleeps** until a row is submitted, however long that takes.
- **It is woken at the end of a turn of the event loop**, not by the first of several rows that
  were submitted in that turn: the thread would start a timestep with one row, and the others
  would have to wait until that timestep is over.
- **A timestep without news is followed by the next at once**: no row has left, so no client has
  an answer to react to.
- **After news, rows that still run wait for the event loop**, at most ``PATIENCE_S``. The loop
  delivers the answers, their clients send the next images, and the rows of these images share
  the next timestep. On few cores that is worth more than starting a little sooner.
- **Once closed it never waits**: what was admitted is finished without a pause.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from spikeserve.service.attempts import complain
from spikeserve.service.scheduler import Scheduler

PATIENCE_S = 0.001

Call = Callable[..., Any]
"""Has a function run, with its arguments, in the thread whose futures wait for answers: the event
loop's."""


def run_here(function: Callable[..., None], *arguments: Any) -> None:
    """A ``Call`` for futures that live in any thread."""
    function(*arguments)


class Wakeup:
    """Wakes one thread for the rows of one scheduler.

    ``lock`` guards the scheduler and this object.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self.lock = threading.Condition()
        self.closed = False
        self.call_soon: Call = run_here
        """Runs a function at the end of the caller's turn: ``loop.call_soon``."""
        self._scheduler = scheduler
        self._ready = False
        self._called = False

    def wait(self) -> bool:
        """Block the thread until it has work; False once closed and without rows."""
        with self.lock:
            while not (self._ready or self.closed):
                patience = PATIENCE_S if self._scheduler.running else None
                if not self.lock.wait(patience):
                    break
            self._ready = False
            return not (self.closed and self._scheduler.idle)

    def after_tick(self, news: bool) -> None:
        """Settle whether the thread goes on at once; to be called with the lock held.

        Args:
            news: a row has left or has something to report, so the event loop has work.
        """
        self._ready = not (news or self._scheduler.idle)

    def wake_soon(self) -> None:
        """Wake the thread at the end of this turn; to be called where the futures live."""
        if not self._called:
            self._called = True
            try:
                self.call_soon(self.wake)
            except BaseException:  # the turn's end cannot be waited for
                complain("the end of a turn could not be awaited")
                self.wake()

    def close(self) -> None:
        """End every wait, now and later."""
        with self.lock:
            self.closed = True
            self.lock.notify()

    def wake(self) -> None:
        """Wake the thread now if there is a row."""
        self._called = False
        with self.lock:
            if not self._scheduler.idle:
                self._ready = True
                self.lock.notify()
