"""The thread that repeats: fill, step, retire. One worker owns one model's engine and state."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future

from models.bundle import Manifest
from models.engines.contract import Engine, State
from models.inference import Row, advance
from service.errors import InferenceFailed, NotReady, ServiceError
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
        self._readout = manifest.readout
        self._empty = self._state = engine.start(0)
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
        try:
            while self._wait_for_rows():
                try:
                    self._tick()
                except Exception:
                    logger.exception("a timestep of %s failed", self.manifest.name)
                    self._fail(self._evict(), InferenceFailed("inference failed; see the log"))
        finally:
            # Drained and empty, or dying: nobody may wait for a thread that is gone.
            with self._changed:
                self._draining = True
                abandoned = [*self.scheduler.evict(), *self.scheduler.waiting]
                self.scheduler.waiting.clear()
            self._fail(abandoned, NotReady("the worker stopped"))

    def _wait_for_rows(self) -> bool:
        """Block until there is work; False once drained and empty."""
        with self._changed:
            while not (self.scheduler.running or self.scheduler.waiting):
                if self._draining:
                    return False
                self._changed.wait()
        return True

    def _tick(self) -> None:
        started = time.monotonic()
        with self._changed:
            entered = self.scheduler.fill(started)
            jobs = list(self.scheduler.running)
        if not jobs:  # everything that waited was cancelled
            return
        state = self._state
        if entered:
            state = State.join([state, self.engine.start(entered)])
        rows = [job.row for job in jobs]
        state = advance(self.engine, self.manifest.encoding, self._readout, rows, state)
        now = time.monotonic()
        with self._changed:
            finished, keep = self.scheduler.retire(now)
        for job in finished:  # before anything else can fail: they have their answers
            job.future.set_result(job)
        self._state = state.take(keep) if finished else state
        self.metrics.stepped(len(jobs), self.scheduler.slots, now - started)

    def _evict(self) -> list[Job]:
        with self._changed:
            evicted = self.scheduler.evict()
        self._state = self._empty
        return evicted

    def _fail(self, jobs: list[Job], error: ServiceError) -> None:
        for job in jobs:
            if not job.future.cancelled():
                job.future.set_exception(error)
        self.metrics.failed(len(jobs))
