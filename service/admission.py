"""How many images may be in the service, and how many bytes of bodies may be on their way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Self

from spikeserve.service.attempts import attempted
from spikeserve.service.errors import BodyTimeout, InvalidParameter, NotReady, QueueFull


class Admission:
    """Counters for the event loop: what does not fit, or comes while closed, is refused at once.

    A request takes no place while its body arrives, or a few clients that send a byte a minute
    would lock out everybody else; bodies have a bound of their own, in bytes. A request that
    finds all places taken is refused before its body is read.

    Args:
        places: how many images may be decoded, waiting or running.
        max_total_upload_bytes: how much unfinished bodies may hold together.
        body_timeout_seconds: how long one body may take to arrive.
    """

    def __init__(
        self, places: Callable[[], int], max_total_upload_bytes: int, body_timeout_seconds: float
    ) -> None:
        self._places = places
        self.max_total_upload_bytes = max_total_upload_bytes
        self.body_timeout_seconds = body_timeout_seconds
        self.open = True
        self.closing = "the service is shutting down, or its lifespan has not begun"
        self.inside = 0
        self.uploaded = 0
        self.uploads: set[Upload] = set()

    @property
    def idle(self) -> bool:
        """No image is inside and no admitted body is still arriving."""
        return not (self.inside or self.uploads)

    @property
    def uploading(self) -> int:
        """How many bodies are still arriving."""
        return len(self.uploads)

    def upload(self) -> Upload:
        """To be entered while a body arrives.

        Raises:
            NotReady: the service is shutting down, or has not started.
            QueueFull: every place is taken.
        """
        if not self.open:
            raise NotReady(self.closing)
        self._check(1)
        return Upload(self)

    def expire(self, now: float) -> None:
        """End the uploads that take too long; to be called now and then, ``now`` monotonic."""
        for upload in self.uploads:
            attempted("ending an upload", upload.expire, now)

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
    """One body on its way in. A timer for each would cost more than reading most bodies.

    Raises:
        BodyTimeout: on leaving, if it took too long.
    """

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._late = False
        self.received = 0
        self.complete = False

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._deadline = time.monotonic() + self._admission.body_timeout_seconds
        self._admission.uploads.add(self)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._admission.uploads.discard(self)
        self._admission.uploaded -= self.received
        if self._late and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            seconds = self._admission.body_timeout_seconds
            raise BodyTimeout(f"the body was not complete after {seconds:g} s")

    def expire(self, now: float) -> None:
        """Interrupt the task that reads this body if its time is up."""
        if now >= self._deadline and not self._late:
            self._late = True
            self._task.cancel()

    def add(self, size: int) -> None:
        """Count bytes that arrived.

        Raises:
            QueueFull: all bodies together are more than may be held.
        """
        self.received += size
        self._admission.uploaded += size
        if self._admission.uploaded > self._admission.max_total_upload_bytes:
            raise QueueFull("too much is being sent at once; retry later")


class Place:
    """Room for some images."""

    def __init__(self, admission: Admission, images: int) -> None:
        self._admission = admission
        self._images = images

    def __enter__(self) -> None:
        self._admission.inside += self._images

    def __exit__(self, *_: object) -> None:
        self._admission.inside -= self._images
