"""Who is decoded next: first come, first served, bounded in waiting time and in memory.

The engines' queue has its twin here, for what comes before it. Images wait for one of a few
threads; the queue is bounded in the time that it is expected to take, by what each image has to
be decoded (pixels, as often as the decoder passes over them) and what decoding took lately. What
runs is bounded in memory: an image that does not fit beside those that are being decoded waits
until it does, and the others wait behind it, so that no crowd of small ones keeps a large one
waiting for ever. Pure: no I/O, no threads, no clock.
"""

from __future__ import annotations

from asyncio import Future
from collections import deque
from dataclasses import dataclass
from math import inf

from spikeserve.models.encoding import Pixels
from spikeserve.models.layers import Shape
from spikeserve.service.admission import File
from spikeserve.service.errors import QueueFull, ServiceError, UnusableImage
from spikeserve.service.images import Inspection

SMOOTHING = 0.1
"""Share of the newest image in the smoothed time that decoding takes."""
PRIOR_SECONDS, PRIOR_WORK = 0.03, 1_000_000
"""What is expected of a format before the first image of it was decoded: a PNG's 30 ns a pixel."""


@dataclass(eq=False)
class Decode:
    """An image file on its way through a decoder; times in seconds, monotonic."""

    file: File
    inspection: Inspection
    shape: Shape
    ended: Future[None]
    """Done when there are pixels, or an error."""
    deadline: float = inf
    expected_seconds: float = 0.0
    """Set on submission."""
    pixels: Pixels | None = None
    error: ServiceError | None = None


class Pace:
    """How long decoding takes, smoothed; large images tell more of it than small ones."""

    def __init__(self) -> None:
        self._seconds, self._work = PRIOR_SECONDS, float(PRIOR_WORK)

    def expected(self, work: float) -> float:
        """Seconds that so much work takes."""
        return work * self._seconds / self._work

    def observe(self, work: float, seconds: float) -> None:
        self._seconds += SMOOTHING * (seconds - self._seconds)
        self._work += SMOOTHING * (work - self._work)


class DecodeQueue:
    """Images that wait for a thread, and those that threads decode.

    Args:
        threads: how many decode at once.
        queue_seconds: expected waiting time beyond which nobody may join; a single image always
            may wait.
        max_bytes: what the running decodes may take together.
    """

    def __init__(self, threads: int, queue_seconds: float, max_bytes: int) -> None:
        self.threads = threads
        self.queue_seconds = queue_seconds
        self.max_bytes = max_bytes
        self.waiting: deque[Decode] = deque()
        self.running: set[Decode] = set()
        self.running_bytes = 0
        self._pending_seconds = 0.0
        self._paces: dict[str, Pace] = {}

    @property
    def expected_wait(self) -> float:
        """Seconds until a thread is expected to have come to the end of the queue."""
        return self._pending_seconds / self.threads

    def check(self) -> None:
        """Whether another image may join.

        Raises:
            QueueFull: the wait would be longer than ``queue_seconds``.
        """
        wait = self.expected_wait
        if self.waiting and wait > self.queue_seconds:
            raise QueueFull(
                f"{len(self.waiting)} images wait to be decoded, for {wait:.1f} s or so; at most "
                f"{self.queue_seconds:g} s are accepted; retry later",
                wait,
            )

    def submit(self, job: Decode) -> None:
        """Queue an image.

        Raises:
            UnusableImage: it would take more memory than there is for all of them.
            QueueFull: see ``check``.
        """
        needed = job.inspection.memory_bytes
        if needed > self.max_bytes:
            raise UnusableImage(
                f"decoding this {job.inspection.format} of {job.inspection.width} x "
                f"{job.inspection.height} pixels may take {needed} bytes; at most "
                f"{self.max_bytes} are accepted"
            )
        self.check()
        job.expected_seconds = self._pace(job).expected(job.inspection.work)
        self.waiting.append(job)
        self._pending_seconds += job.expected_seconds

    def take(self) -> Decode | None:
        """The next image, for a thread; None while there is none, or it does not fit."""
        if not self.waiting:
            return None
        needed = self.waiting[0].inspection.memory_bytes
        if self.running_bytes + needed > self.max_bytes:
            return None
        job = self.waiting.popleft()
        self._forget(job)
        self.running.add(job)
        self.running_bytes += needed
        return job

    def done(self, job: Decode, seconds: float | None) -> None:
        """A thread is through with it, after so many seconds of decoding; None: without."""
        self.running.discard(job)
        self.running_bytes -= job.inspection.memory_bytes
        if seconds is not None:
            self._pace(job).observe(job.inspection.work, seconds)

    def leave(self, job: Decode) -> bool:
        """Take an image out of the queue; False if it was not waiting any more."""
        try:
            self.waiting.remove(job)
        except ValueError:
            return False
        self._forget(job)
        return True

    def _pace(self, job: Decode) -> Pace:
        return self._paces.setdefault(job.inspection.format, Pace())

    def _forget(self, job: Decode) -> None:
        self._pending_seconds -= job.expected_seconds
        if not self.waiting:
            self._pending_seconds = 0.0  # no drift
