"""The thread that repeats: fill, step, retire. One worker owns one model's engine and state."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future

from models.bundle import Manifest
from models.engines.contract import Engine, State
from models.inference import Row, advance
from service.errors import InferenceFailed, NotReady
from service.metrics import ModelMetrics
from service.scheduler import Job, Scheduler

logger = logging.getLogger("spikeserve")


class Worker:
    """Runs submitted rows on an engine until stopped."""

    def __init__(
        self, manifest: Manifest, engine: Engine, scheduler: Scheduler, metrics: ModelMetrics
    ) -> None:
        self.manifest = manifest
        self.engine = engine
        self.scheduler = scheduler
        self.metrics = metrics
        self.last_tick = time.monotonic()
        self._readout = manifest.readout
        self._state: State = engine.start(0)
        self._changed = threading.Condition()
        self._draining = False
        self._thread = threading.Thread(
            target=self._run, name=f"worker-{manifest.name}", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def submit(self, row: Row) -> Future[Job]:
        """Queue a row; the future gives its finished job.

        Raises:
            QueueFull: the queue is at its bound.
            NotReady: the worker is draining.
        """
        job = Job(row, submitted=time.monotonic())
        with self._changed:
            if self._draining:
                raise NotReady("the service is shutting down")
            self.scheduler.submit(job)
            self._changed.notify()
        return job.future

    def drain(self, seconds: float) -> bool:
        """Admit nothing more, finish what was admitted; False if time ran out first."""
        with self._changed:
            self._draining = True
            self._changed.notify()
        self._thread.join(max(0.0, seconds))
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        while self._wait_for_rows():
            try:
                finished = self._tick()
            except Exception:
                logger.exception("a timestep of %s failed", self.manifest.name)
                self._fail_running()
            else:
                for job in finished:
                    job.future.set_result(job)

    def _wait_for_rows(self) -> bool:
        """Block until there is work; False once drained and empty."""
        with self._changed:
            while not (self.scheduler.running or self.scheduler.waiting):
                if self._draining:
                    return False
                self._changed.wait()
        return True

    def _tick(self) -> list[Job]:
        started = time.monotonic()
        with self._changed:
            entered = self.scheduler.fill(started)
            jobs = list(self.scheduler.running)
        if not jobs:  # everything that waited was cancelled
            return []
        state = self._state
        if entered:
            state = State.join([state, self.engine.start(entered)])
        rows = [job.row for job in jobs]
        state = advance(self.engine, self.manifest.encoding, self._readout, rows, state)
        now = self.last_tick = time.monotonic()
        with self._changed:
            finished, keep = self.scheduler.retire(now)
        self._state = state.take(keep) if finished else state
        self.metrics.stepped(len(jobs), self.scheduler.slots, now - started)
        return finished

    def _fail_running(self) -> None:
        with self._changed:
            evicted = self.scheduler.evict()
        self._state = self.engine.start(0)
        for job in evicted:
            job.future.set_exception(InferenceFailed("inference failed; the log has the cause"))
        self.metrics.failed(len(evicted))
