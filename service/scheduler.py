"""Who runs next: timestep-level continuous batching, the whole policy on one screen.

A row has no phases, only a ``t``. Every tick steps all live rows once, at whatever t they
are; finished rows leave and waiting rows take their slots, first come, first served.
Pure: no I/O, no threads, no clock.
"""

from __future__ import annotations

from collections import deque

from spikeserve.service.errors import DeadlineExceeded, QueueFull
from spikeserve.service.jobs import Job

SMOOTHING = 0.1
"""Share of the newest tick in the smoothed time of a timestep."""


class Scheduler:
    """A bounded set of running rows, and a queue bounded by the timesteps it is expected to take.

    Args:
        slots: rows that run together.
        queue_timesteps: expected timesteps that may wait; a single row always may.
    """

    def __init__(self, slots: int, queue_timesteps: float) -> None:
        self.slots = slots
        self.queue_timesteps = queue_timesteps
        self.waiting: deque[Job] = deque()
        self.running: list[Job] = []
        self.pending_timesteps = 0.0
        self.step_seconds = 0.0
        """Smoothed time of one timestep of one row."""

    @property
    def idle(self) -> bool:
        """No row runs and none waits."""
        return not (self.running or self.waiting)

    def submit(self, job: Job) -> None:
        """Queue a job.

        Raises:
            QueueFull: the waiting rows already need ``queue_timesteps`` timesteps.
        """
        if self.waiting and self.pending_timesteps + job.expected_timesteps > self.queue_timesteps:
            wait = self.pending_timesteps * self.step_seconds
            raise QueueFull(
                f"the queue is full: {self.pending_timesteps:.0f} of {self.queue_timesteps:g} "
                "expected timesteps are waiting; retry later",
                wait,
            )
        self.waiting.append(job)
        self.pending_timesteps += job.expected_timesteps

    def leave(self, job: Job) -> bool:
        """Take a job out of the queue; False if it was not waiting any more."""
        try:
            self.waiting.remove(job)
        except ValueError:
            return False
        self._forget(job)
        return True

    def fill(self, now: float) -> int:
        """Move waiting jobs to the end of ``running``; returns how many entered."""
        before = len(self.running)
        while self.waiting and len(self.running) < self.slots:
            job = self.waiting.popleft()
            self._forget(job)
            job.started = now
            self.running.append(job)
        return len(self.running) - before

    def retire(self, now: float) -> tuple[list[Job], list[int]]:
        """Take out jobs that are done, late, failed or cancelled; these, and the indices kept."""
        leaving, keep = [], []
        for index, job in enumerate(self.running):
            row = job.row
            if row.stop_reason is None and now >= job.deadline and row.t:
                row.stop_reason = "deadline"
            if row.stop_reason is None and job.error is None and not job.cancelled:
                keep.append(index)
            else:
                job.finished = now
                leaving.append(job)
        self.running = [self.running[index] for index in keep]
        return leaving, keep

    def overdue(self, now: float) -> list[Job]:
        """Take out the waiting jobs whose deadline has passed before a timestep could run."""
        late = [job for job in self.waiting if now >= job.deadline]
        for job in late:
            self.leave(job)
            job.finished = now
            job.error = DeadlineExceeded("the deadline passed before a timestep could run")
        return late

    def observe(self, rows: int, seconds: float) -> None:
        """Note that a tick stepped so many rows in so many seconds."""
        self.step_seconds += SMOOTHING * (seconds / rows - self.step_seconds)

    def clear(self) -> list[Job]:
        """Empty slots and queue; returns the jobs that were there."""
        evicted = [*self.running, *self.waiting]
        self.running, self.pending_timesteps = [], 0.0
        self.waiting.clear()
        return evicted

    def _forget(self, job: Job) -> None:
        self.pending_timesteps -= job.expected_timesteps
        if not self.waiting:
            self.pending_timesteps = 0.0  # no drift
