"""The thread that repeats: fill, step, retire. One worker owns one model's engine and state."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

from spikeserve.models.energy.estimate import EnergyModel
from spikeserve.models.engines.contract import Engine, State
from spikeserve.models.inference import Row, advance
from spikeserve.models.manifest import Manifest
from spikeserve.service.errors import InferenceFailed, NotReady, ServiceError
from spikeserve.service.jobs import Job, Progress
from spikeserve.service.metrics import ModelMetrics
from spikeserve.service.scheduler import Scheduler

logger = logging.getLogger("spikeserve")

FAILURES_UNTIL_BROKEN = 3
SMOOTHING = 0.1
PATIENCE_S = 0.001
"""How long running rows wait for a turn of the event loop to end. Who came in it then shares
their timestep; on few cores that is worth more than starting a little sooner."""

Call = Callable[..., Any]
"""Runs a function where the futures live, sooner or later."""
Reports = list[tuple[Callable[[Progress], None], Progress]]


def run_here(function: Callable[..., None], *arguments: Any) -> None:
    """A ``Call`` for futures that live in any thread."""
    function(*arguments)


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
        self._energy = energy
        self.engine = engine
        self.scheduler = scheduler
        self.metrics = metrics
        self.ticks = 0
        self.busy = False
        self._readout = manifest.readout
        self._empty = self._state = engine.start(0)
        self._changed = threading.Condition()
        self._draining = False
        self._given_up = False
        self._failures = 0
        self._post = self._soon = run_here
        self._woken = False
        self._waking = False
        self._thread = threading.Thread(
            target=self._run, name=f"worker-{manifest.name}", daemon=True
        )

    def start(self, post: Call = run_here, soon: Call = run_here) -> None:
        """Begin to run rows.

        Args:
            post: brings news to where the futures live: ``loop.call_soon_threadsafe``.
            soon: ends the caller's turn before the thread is woken: ``loop.call_soon``.
        """
        self._post, self._soon = post, soon
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue a job; its future will give the job, or the error that met it.

        Raises:
            QueueFull: the queue is at its bound.
            NotReady: the worker is draining.
        """
        job.submitted = time.monotonic()
        with self._changed:
            if self._draining:
                raise NotReady("the service is shutting down")
            self.scheduler.submit(job)
        # An idle thread is woken once for everybody who came in the same turn of the loop,
        # not for the first of them: the others would have to wait for its step.
        self._wake_soon()

    def _wake_soon(self) -> None:
        if not self._waking:
            self._waking = True
            self._soon(self._wake)

    def _wake(self) -> None:
        self._waking = False
        with self._changed:
            if self.scheduler.running or self.scheduler.waiting:
                self._woken = True
                self._changed.notify()

    def cancel(self, job: Job) -> None:
        """Nobody waits for this job any more: it leaves the queue now, a slot within one step."""
        with self._changed:
            if job.finished:
                return
            job.cancelled = True
            phase: Literal["queued", "running"] = (
                "queued" if self.scheduler.leave(job) else "running"
            )
        self.metrics.cancelled(phase)

    def drain(self, seconds: float) -> bool:
        """Admit nothing more, finish what was admitted; False if time ran out first."""
        with self._changed:
            self._draining = True
            self._changed.notify()
        if not self._given_up:  # or nobody is left to wait for, but perhaps a thread that hangs
            self._thread.join(max(0.0, seconds))
        return not self._thread.is_alive()

    def give_up(self, error: ServiceError) -> None:
        """Fail every job now: a thread that hangs in its engine cannot be stopped."""
        with self._changed:
            self._draining = self._given_up = True
            jobs = self.scheduler.clear()
            self._changed.notify()
        self._fail(jobs, error)

    @property
    def healthy(self) -> bool:
        """The thread runs, its engine neither hangs nor fails again and again."""
        return (
            self._thread.is_alive()
            and not self._given_up
            and self._failures < FAILURES_UNTIL_BROKEN
        )

    def _run(self) -> None:
        try:
            while self._wait_for_rows():
                self.busy = True
                try:
                    self._tick()
                except Exception:
                    logger.exception("a tick of %s failed", self.manifest.name)
                    with self._changed:
                        lost, self.scheduler.running = self.scheduler.running, []
                    self._state = self._empty
                    self._fail(lost, InferenceFailed("inference failed; see the log"))
                self.ticks += 1
                self.busy = False
        finally:
            # Drained and empty, or dying: nobody may wait for a thread that is gone.
            with self._changed:
                self._draining = True
                abandoned = self.scheduler.clear()
            self._fail(abandoned, NotReady("the worker stopped"))

    def _wait_for_rows(self) -> bool:
        """Block until there is work; False once drained and empty."""
        with self._changed:
            while not (self._woken or self._draining):
                if not self._changed.wait(PATIENCE_S if self.scheduler.running else None):
                    break
            return bool(self.scheduler.running or self.scheduler.waiting) or not self._draining

    def _tick(self) -> None:
        started = time.monotonic()
        with self._changed:
            late = self.scheduler.overdue(started)
            entered = self.scheduler.fill(started)
            jobs = list(self.scheduler.running)
            self._woken = bool(jobs)
        self._deliver(late, [])
        if not jobs:
            return
        state = self._state
        if entered:
            state = State.join([state, self.engine.start(entered)])
        state = self._stepped(jobs, state)
        now = time.monotonic()
        reports: Reports = [
            (job.listener, job.progress()) for job in jobs if job.listener and not job.error
        ]
        with self._changed:
            if self._given_up:
                return
            leaving, keep = self.scheduler.retire(now)
            idle = not (self.scheduler.running or self.scheduler.waiting)
            self._woken = not (leaving or reports or idle)
            pace = (now - started) / len(jobs) - self.scheduler.step_seconds
            self.scheduler.step_seconds += SMOOTHING * pace
        self._deliver(leaving, reports)  # before anything else can fail: they have their answers
        self._state = state.take(keep) if leaving else state
        self.metrics.stepped(len(jobs), self.scheduler.slots, now - started)

    def _stepped(self, jobs: Sequence[Job], state: State) -> State:
        """One timestep for all jobs; where it fails, ``error`` is set on the jobs at fault."""
        try:
            state = self._advance(jobs, state)
            self._failures = 0
            return state
        except Exception:
            logger.exception("a timestep of %s failed", self.manifest.name)
        state = self._halved(jobs, state)
        failed = [job for job in jobs if job.error]
        if len(failed) < len(jobs) or self._works():
            self._failures = 0
        else:
            self._failures += 1
            logger.error("%s failed %d times in a row", self.engine.name, self._failures)
        self.metrics.failed(len(failed))
        return state

    def _halved(self, jobs: Sequence[Job], state: State) -> State:
        """A failing step tried again in halves, until whoever makes it fail stands alone.

        State goes in and comes out, so a step that failed has changed nothing.
        """
        if len(jobs) == 1:
            try:
                return self._advance(jobs, state)
            except Exception:
                jobs[0].error = InferenceFailed("inference failed; the log has more")
                return state
        middle = len(jobs) // 2
        halves = ((jobs[:middle], range(middle)), (jobs[middle:], range(middle, len(jobs))))
        return State.join([self._halved(half, state.take(rows)) for half, rows in halves])

    def _advance(self, jobs: Sequence[Job], state: State) -> State:
        rows = [job.row for job in jobs]
        return advance(self.engine, self.manifest.encoding, self._readout, rows, state)

    def _works(self) -> bool:
        """Whether the engine runs an image of our own: the fault may be the rows', not its own."""
        ours = Row(self.manifest.noise_image(), self.manifest.policy())
        try:
            advance(
                self.engine, self.manifest.encoding, self._readout, [ours], self.engine.start(1)
            )
        except Exception:
            return False
        return True

    def _fail(self, jobs: list[Job], error: ServiceError) -> None:
        for job in jobs:
            job.error, job.finished = error, time.monotonic()
        self.metrics.failed(len(jobs))
        self._deliver(jobs, [])

    def _deliver(self, jobs: list[Job], reports: Reports) -> None:
        """Wake everyone who has news, all with one call."""
        if not (jobs or reports):
            return
        try:
            self._post(self._resolve, jobs, reports)
        except RuntimeError:  # the event loop is closed: nobody is left to tell
            logger.warning("%d answers came after the service had stopped", len(jobs))

    def _resolve(self, jobs: list[Job], reports: Reports) -> None:
        for listener, progress in reports:
            listener(progress)
        answered = [job for job in jobs if job.error is None and not job.cancelled]
        for job in answered:
            job.energy = self._energy.estimate(job.row.active_pairs)
        if answered:
            self.metrics.finished(answered)  # here, whoever may read the answer
        for job in jobs:
            job.resolve()
        self._wake_soon()
