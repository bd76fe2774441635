"""How many images may be in the service, and how many bytes of request bodies it may hold."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from math import inf
from typing import Self

from spikeserve.service.attempts import attempted
from spikeserve.service.errors import (
    BodyTimeout,
    DeadlineExceeded,
    InvalidParameter,
    NotReady,
    QueueFull,
    ServiceError,
)
from spikeserve.service.presence import Alarm

LIGHT_BYTES = 16 << 10
"""A body up to here may hold a small PNG, base64 and form around it included, which takes no
decoder; whoever holds the memory for large bodies does not lock such clients out."""


class Admission:
    """Counters for the event loop: what does not fit, or comes while closed, is refused at once.

    A request takes no place while its body arrives, or a few clients that send a byte a minute
    would lock out everybody else; bodies have a bound of their own, in bytes, which counts each
    until it has been decoded. A request that finds all places taken, or a large one that finds
    the decoders' queue full, is refused before its body is read.

    Args:
        places: how many images may be decoded, waiting or running.
        max_total_upload_bytes: how much bodies and files not yet decoded may hold together.
        body_timeout_seconds: how long one body may take to arrive.
        check_decoders: raises ``QueueFull`` while no further image may wait to be decoded.
    """

    def __init__(
        self,
        places: Callable[[], int],
        max_total_upload_bytes: int,
        body_timeout_seconds: float,
        check_decoders: Callable[[], None],
    ) -> None:
        self._places = places
        self.max_total_upload_bytes = max_total_upload_bytes
        self.body_timeout_seconds = body_timeout_seconds
        self.check_decoders = check_decoders
        self.open = True
        self.closing = "the service is shutting down, or its lifespan has not begun"
        self.inside = 0
        self.held_bytes = 0
        self.uploads: set[Upload] = set()

    @property
    def idle(self) -> bool:
        """No image is inside and no admitted body is still arriving."""
        return not (self.inside or self.uploads)

    @property
    def uploading(self) -> int:
        """How many bodies are still arriving."""
        return len(self.uploads)

    def upload(self, announced: int = 0, deadline: float = inf, one_image: bool = False) -> Upload:
        """To be entered while a body arrives.

        Args:
            announced: its length in bytes, where the client said so.
            deadline: of its request, monotonic.
            one_image: it is nothing but one image, so a large one needs a decoder.

        Raises:
            NotReady: the service is shutting down, or has not started.
            QueueFull: every place is taken, or the body would not fit what may be held, or the
                decoders' queue.
        """
        if not self.open:
            raise NotReady(self.closing)
        self._check(1)
        upload = Upload(self, deadline, one_image)
        if announced > LIGHT_BYTES:
            upload.weigh(announced)
        return upload

    def file(self, data: bytes) -> File:
        """An image file of a body that has arrived."""
        return File(self, data)

    def expire(self, now: float) -> None:
        """End the uploads that take too long; to be called now and then, ``now`` monotonic."""
        for upload in self.uploads:
            attempted("ending an upload", upload.expire, now)

    def give_up(self, error: ServiceError) -> None:
        """End all uploads."""
        for upload in self.uploads:
            upload.interrupt(error)

    def place(self, images: int = 1) -> Place:
        """To be entered from an image's last byte to its answer.

        Raises:
            QueueFull: so many are not free.
            InvalidParameter: there are not so many.
        """
        self._check(images)
        return Place(self, images)

    def _check(self, images: int) -> None:
        places = self._places()
        if images > places:
            raise InvalidParameter(f"at most {places} images at once")
        if self.inside + images > places:
            raise QueueFull(f"{self.inside} requests are being answered; retry later")


class Upload:
    """One body on its way in. A timer for each would cost more than reading most bodies, so only
    those with a deadline of their own have one.

    Raises:
        BodyTimeout: on leaving, if it took too long.
        DeadlineExceeded: on leaving, if its request's deadline passed.
    """

    def __init__(self, admission: Admission, deadline: float, one_image: bool) -> None:
        self._admission = admission
        self._deadline = deadline
        self._one_image = one_image
        self._error: ServiceError | None = None
        self._alarm: Alarm | None = None
        self.received = 0
        self.complete = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._expires = time.monotonic() + self._admission.body_timeout_seconds
        if self._deadline < self._expires:
            self._alarm = Alarm(self._deadline, self._overdue)
        self._admission.uploads.add(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._admission.uploads.discard(self)
        self._admission.held_bytes -= self.received
        if self._alarm:
            self._alarm.cancel()
        if self._error and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise self._error

    def expire(self, now: float) -> None:
        """Interrupt the task that reads this body if its time is up."""
        if now >= self._expires:
            seconds = self._admission.body_timeout_seconds
            self.interrupt(BodyTimeout(f"the body was not complete after {seconds:g} s"))

    def interrupt(self, error: ServiceError) -> None:
        """End the upload; its request meets the error."""
        if self._error is None:
            self._error = error
            self._task.cancel()

    def add(self, size: int) -> None:
        """Count bytes that arrived.

        Raises:
            QueueFull: all bodies together are more than may be held, or the decoders' queue is
                full.
        """
        self.received += size
        self._admission.held_bytes += size
        if self.received > LIGHT_BYTES:
            self.weigh(0)

    def weigh(self, further: int) -> None:
        """See whether a body that is not light may come, with so many bytes more.

        Raises:
            QueueFull: as ``add``.
        """
        if self._admission.held_bytes + further > self._admission.max_total_upload_bytes:
            raise QueueFull("too much is being sent at once; retry later")
        if self._one_image:
            self._admission.check_decoders()
            self._one_image = False  # asked once: it will have its turn when it is complete

    def _overdue(self) -> None:
        self.interrupt(DeadlineExceeded("the deadline passed before the body was complete"))


class File:
    """An image file as it was sent, counted until it is let go of: decoded or given up.

    Whoever forgets to release it only holds it as long as it lives.
    """

    __slots__ = ("_admission", "data", "decoding")

    def __init__(self, admission: Admission, data: bytes) -> None:
        self._admission = admission
        self.data = data
        self.decoding = False
        """A decoder has it, whatever became of its request."""
        admission.held_bytes += len(data)

    def release(self) -> None:
        """The request needs it no more. A decoder that has it releases it in turn."""
        if self.data and not self.decoding:
            self._admission.held_bytes -= len(self.data)
            self.data = b""

    __del__ = release


class Place:
    """Room for some images."""

    def __init__(self, admission: Admission, images: int) -> None:
        self._admission = admission
        self._images = images

    def __enter__(self) -> None:
        self._admission.inside += self._images

    def __exit__(self, *_: object) -> None:
        self._admission.inside -= self._images
