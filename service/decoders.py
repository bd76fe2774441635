"""The threads that decode images, and how requests wait for them.

A decode that runs cannot be interrupted. Its request is answered all the same when its deadline
passes or its client leaves; what it decodes is dropped, and counts until then. The threads are
daemons: a process that has to end does not wait for them.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from math import inf

from starlette.types import Receive

from spikeserve.models.encoding import Pixels
from spikeserve.models.layers import Shape
from spikeserve.service.admission import File
from spikeserve.service.decoding import Decode, DecodeQueue
from spikeserve.service.errors import (
    DeadlineExceeded,
    InferenceFailed,
    NotReady,
    ServiceError,
    frameless,
)
from spikeserve.service.images import Inspection
from spikeserve.service.presence import Alarm, while_present
from spikeserve.service.wakeup import Call, run_here

logger = logging.getLogger("spikeserve")

CLOSED = "the service is shutting down"
Decoder = Callable[[bytes, Shape, int], Pixels]


class Decoders:
    """Decodes what is in a queue; requests call it on their event loop."""

    def __init__(self, queue: DecodeQueue, max_pixels: int, decode: Decoder) -> None:
        self.queue = queue
        self._max_pixels = max_pixels
        self._decode = decode
        self._post: Call = run_here
        self._lock = threading.Condition()
        self._closed = False

    def start(self, post: Call) -> None:
        """Begin to decode; ``post`` brings news to the event loop: ``call_soon_threadsafe``."""
        self._post = post
        for number in range(self.queue.threads):
            threading.Thread(target=self._run, name=f"decoder-{number}", daemon=True).start()

    def check(self) -> None:
        """Whether another image may join the queue.

        Raises:
            QueueFull: it is at its bound.
        """
        self.queue.check()

    async def decoded(
        self,
        file: File,
        inspection: Inspection,
        shape: Shape,
        receive: Receive,
        deadline: float = inf,
    ) -> Pixels:
        """The image as the network takes it.

        Raises:
            QueueFull: too much is waiting.
            UnusableImage, UnsupportedMedia: see :func:`images.decode_image`.
            DeadlineExceeded: at the deadline, however far the image had come.
            ClientDisconnect: the client left.
            NotReady: the service is shutting down.
        """
        ended = asyncio.get_running_loop().create_future()
        job = Decode(file, inspection, shape, ended, deadline)
        with self._lock:
            if self._closed:
                raise NotReady(CLOSED)
            self.queue.submit(job)
            file.decoding = True
            self._lock.notify()
        alarm = Alarm(deadline, lambda: _end(job, _overdue())) if deadline < inf else None
        try:
            await while_present(ended, receive)
        finally:
            if alarm:
                alarm.cancel()
            ended.cancel()  # unless it is done: nobody waits any more
            if file.decoding:
                self._leave(job)
        if job.error:
            raise job.error
        assert job.pixels is not None
        return job.pixels

    def give_up(self, error: ServiceError) -> None:
        """Everybody who waits meets the error now; to be called on the event loop."""
        self.close()
        with self._lock:
            jobs = [*self.queue.waiting, *self.queue.running]
        for job in jobs:
            _end(job, error)

    def close(self) -> None:
        """Admit nothing more; the threads end when nothing waits."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()

    def _leave(self, job: Decode) -> None:
        """Out of the queue at once; a thread that has begun drops its result at the end."""
        with self._lock:
            if self.queue.leave(job):
                job.file.decoding = False
                self._lock.notify_all()  # it may have been what did not fit

    def _run(self) -> None:
        while (job := self._next()) is not None:
            self._serve(job)
            del job  # or the last one would stay until the next comes

    def _next(self) -> Decode | None:
        with self._lock:
            while (job := self.queue.take()) is None:
                if self._closed and not self.queue.waiting:
                    return None
                self._lock.wait()
            return job

    def _serve(self, job: Decode) -> None:
        """Decode, and report; raises nothing, since its thread has to go on."""
        pixels, error, seconds = None, None, None
        began = time.monotonic()
        try:
            if began >= job.deadline:
                raise _overdue()
            pixels = self._decode(job.file.data, job.shape, self._max_pixels)
            seconds = time.monotonic() - began
        except ServiceError as refused:
            error = frameless(refused)
        except MemoryError:
            error = NotReady("there is too little memory to decode this now")
        except Exception:
            logger.exception("decoding failed")
            error = InferenceFailed("decoding failed; see the log")
        with self._lock:
            self.queue.done(job, seconds)
            self._lock.notify_all()  # there is room again
        try:
            self._post(_arrive, job, pixels, error)
        except RuntimeError:  # the event loop is closed: nobody is left to tell
            logger.warning("an image was decoded after the service had stopped")


def _arrive(job: Decode, pixels: Pixels | None, error: ServiceError | None) -> None:
    """A thread is through with this image; called on the event loop."""
    job.file.decoding = False
    if job.ended.done():
        job.file.release()
    else:
        job.pixels, job.error = pixels, error
        job.ended.set_result(None)


def _end(job: Decode, error: ServiceError) -> None:
    """Its request waits no more."""
    if not job.ended.done():
        job.error = error
        job.ended.set_result(None)


def _overdue() -> DeadlineExceeded:
    return DeadlineExceeded("the deadline passed before a timestep could run")
