"""The thread that repeats: fill, step, retire. One worker owns one model's engine and state."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from typing import Literal

from spikeserve.models.energy.estimate import EnergyModel
from spikeserve.models.engines.contract import Engine, State
from spikeserve.models.manifest import Manifest
from spikeserve.service.attempts import attempted, complain
from spikeserve.service.delivery import Delivery, Reports
from spikeserve.service.errors import InferenceFailed, NotReady, ServiceError
from spikeserve.service.holds import Holds
from spikeserve.service.isolation import FAILURES, FAILURES_UNTIL_BROKEN, IsolatingStepper
from spikeserve.service.jobs import Job
from spikeserve.service.metrics import ModelMetrics
from spikeserve.service.scheduler import Scheduler
from spikeserve.service.wakeup import Call, Wakeup, run_here


class Worker:
    """Runs submitted rows on an engine until stopped."""

    def __init__(
        self,
        manifest: Manifest,
        engine: Engine,
        scheduler: Scheduler,
        metrics: ModelMetrics,
        energy: EnergyModel,
    ) -> None:
        self.manifest = manifest
        self.scheduler = scheduler
        self.metrics = metrics
        self.ticks = 0
        self.busy = False
        self.holds = Holds()
        self._stepper = IsolatingStepper(manifest)
        self.engine = engine
        self._wakeup = Wakeup(scheduler)
        self._lock = self._wakeup.lock
        self._delivery = Delivery(energy, metrics, self._wakeup)
        self._given_up = False
        self._owed: set[Job] = set()
        """Admitted, and not yet sent back: whatever fails, these are told."""
        self._failed_ticks = 0
        self._thread = threading.Thread(
            target=self._run, name=f"worker-{manifest.name}", daemon=True
        )

    @property
    def engine(self) -> Engine:
        return self._engine

    @engine.setter
    def engine(self, engine: Engine) -> None:
        """Take another engine, while no row runs: its states are its own."""
        self._engine = engine
        self._empty = self._state = engine.start(0)

    def start(self, post: Call = run_here, soon: Call = run_here) -> None:
        """Begin to run rows.

        Args:
            post: brings news to where the futures live: ``loop.call_soon_threadsafe``.
            soon: ends the caller's turn before the thread is woken: ``loop.call_soon``.
        """
        self._delivery.post, self._wakeup.call_soon = post, soon
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue a job; its future will give the job, or the error that met it.

        Raises:
            QueueFull: the queue is at its bound.
            NotReady: the worker is draining, or gone.
        """
        job.submitted = time.monotonic()
        with self._lock:
            if self._wakeup.closed:
                gone = self._given_up or (self._thread.ident and not self._thread.is_alive())
                raise NotReady(
                    "the engine hangs or has stopped" if gone else "the service is shutting down"
                )
            self.scheduler.submit(job)
            self._owed.add(job)
        self._wakeup.wake_soon()

    def cancel(self, job: Job) -> None:
        """Nobody waits for this job any more: it leaves the queue now, a slot within one step."""
        with self._lock:
            if job.finished:
                return
            job.cancelled = True
            phase: Literal["queued", "running"] = "running"
            if self.scheduler.leave(job):
                phase = "queued"
                self._owed.discard(job)
        attempted("counting", self.metrics.cancelled, phase)

    def drain(self, seconds: float) -> bool:
        """Admit nothing more, finish what was admitted; False if time ran out first.

        Of a request whose rows come one by one all are admitted, or none.
        """
        deadline = time.monotonic() + seconds
        self.holds.wait(seconds)
        self._wakeup.close()
        if not self._given_up:  # after that every job has failed, and the thread may never end
            self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()

    def give_up(self, error: ServiceError) -> None:
        """Fail every job now: a thread that hangs in its engine cannot be stopped."""
        with self._lock:
            self._given_up = True
        self._abandon(error)

    @property
    def healthy(self) -> bool:
        """The thread runs, and neither it nor its engine hangs or fails again and again."""
        broken = self._given_up or self._stepper.broken
        return self._thread.is_alive() and not broken and self._failed_ticks < FAILURES_UNTIL_BROKEN

    @property
    def waited_for(self) -> bool:
        """It is in a tick, or has rows that want one."""
        return self.busy or not self.scheduler.idle

    def nudge(self) -> None:
        """Bring what lies undelivered, and wake the thread if it overslept; called now and then
        where the futures live. Where all is well there is nothing to do."""
        self._delivery.arrive()
        self._wakeup.wake()

    def _run(self) -> None:
        try:
            while self._wakeup.wait():
                self.busy = True
                try:
                    self._tick()
                    self._failed_ticks = 0
                except FAILURES:
                    complain(f"a tick of {self.manifest.name} failed")
                    self._failed_ticks += 1
                    self._lose_running()
                self.ticks += 1
                self.busy = False
        except BaseException:
            # Python says nothing of a SystemExit.
            complain(f"the thread of {self.manifest.name} ends")
            raise
        finally:
            # Drained and empty, or dying: nobody may wait for a thread that is gone.
            self.busy = False
            self._abandon(NotReady("the worker stopped"))

    def _tick(self) -> None:
        started = time.monotonic()
        if jobs := self._fill(started):
            self._state = self._stepper.step(self.engine, jobs, self._state)
            self._retire(jobs, started)

    def _fill(self, now: float) -> list[Job]:
        """Waiting jobs that are too late leave, others enter free slots; all jobs in slots."""
        with self._lock:
            late = self.scheduler.overdue(now)
            entered = self.scheduler.fill(now)
            jobs = list(self.scheduler.running)
        self._send(late)
        if entered:
            self._state = State.join([self._state, self.engine.start(entered)])
        return jobs

    def _retire(self, jobs: Sequence[Job], started: float) -> None:
        """Jobs that are done leave with their answers; listeners hear of the timestep."""
        now = time.monotonic()
        reports = [
            (job.listener, progress)
            for job in jobs
            if job.listener and not job.error and (progress := attempted("a report", job.progress))
        ]
        with self._lock:
            if self._given_up:  # everybody has been told
                return
            self.scheduler.observe(len(jobs), now - started)
            leaving, keep = self.scheduler.retire(now)
            self._wakeup.after_tick(news=bool(leaving or reports))
        self._count_failed(leaving)
        self._send(leaving, reports)  # before anything else: they have their answers
        if leaving:
            self._state = self._state.take(keep)
        attempted("counting", self.metrics.stepped, len(jobs), self.scheduler.slots, now - started)

    def _lose_running(self) -> None:
        """A tick failed outside its step: its jobs fail, the queue goes on with empty slots."""
        with self._lock:
            self.scheduler.running = []
            lost = self._owed.difference(self.scheduler.waiting)
            self._wakeup.after_tick(news=False)
        self._state = self._empty
        self._fail(lost, InferenceFailed("inference failed; see the log"))

    def _abandon(self, error: ServiceError) -> None:
        """No row runs any more: everybody is told."""
        with self._lock:
            self._wakeup.close()
            self.scheduler.clear()
            jobs = self._owed.copy()
        self._fail(jobs, error)

    def _fail(self, jobs: Iterable[Job], error: ServiceError) -> None:
        failed = list(jobs)
        for job in failed:
            job.error, job.finished = error, time.monotonic()
        self._count_failed(failed)
        self._send(failed)

    def _send(self, jobs: Sequence[Job], reports: Reports = ()) -> None:
        self._delivery.send(jobs, reports)
        self._owed.difference_update(jobs)

    def _count_failed(self, jobs: Sequence[Job]) -> None:
        """Before the jobs are answered: whoever has an error finds it in the metrics."""
        if failed := sum(job.error is not None for job in jobs):
            attempted("counting", self.metrics.failed, failed)
