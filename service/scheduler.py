"""Who runs next: timestep-level continuous batching, the whole policy on one screen.

A row has no phases, only a ``t``. Every tick steps all live rows once, at whatever t they
are; finished rows leave and waiting rows take their slots, first come, first served.
Pure: no I/O, no threads, no clock.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from models.inference import Row
from service.errors import QueueFull


@dataclass(eq=False)
class Job:
    """A row with what the service needs to know about it; times in seconds."""

    row: Row
    submitted: float
    future: Future[Job] = field(default_factory=Future)
    started: float = 0.0
    finished: float = 0.0


class Scheduler:
    """A bounded queue and a bounded set of running rows."""

    def __init__(self, slots: int, queue_capacity: int) -> None:
        self.slots = slots
        self.queue_capacity = queue_capacity
        self.waiting: deque[Job] = deque()
        self.running: list[Job] = []

    def submit(self, job: Job) -> None:
        """Queue a job.

        Raises:
            QueueFull: ``queue_capacity`` jobs are waiting already.
        """
        if len(self.waiting) >= self.queue_capacity:
            raise QueueFull(f"{self.queue_capacity} requests are waiting; retry later")
        self.waiting.append(job)

    def fill(self, now: float) -> int:
        """Move waiting jobs to the end of ``running``; returns how many entered."""
        entered = 0
        while self.waiting and len(self.running) < self.slots:
            job = self.waiting.popleft()
            if job.future.set_running_or_notify_cancel():
                job.started = now
                self.running.append(job)
                entered += 1
        return entered

    def retire(self, now: float) -> tuple[list[Job], list[int]]:
        """Take finished jobs out; returns them and the former indices of those that stay."""
        keep = [k for k, job in enumerate(self.running) if job.row.stop_reason is None]
        finished = [job for job in self.running if job.row.stop_reason is not None]
        for job in finished:
            job.finished = now
        self.running = [self.running[k] for k in keep]
        return finished, keep

    def evict(self) -> list[Job]:
        """Empty all slots, after a failure; returns the jobs that were running."""
        evicted, self.running = self.running, []
        return evicted
