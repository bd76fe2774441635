"""How many requests may be inside, and how much they may be sending."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from service.errors import BodyTimeout, NotReady, QueueFull


class Upload:
    """One body on its way in."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.received = 0

    def add(self, size: int) -> None:
        """Count bytes that arrived.

        Raises:
            QueueFull: all bodies together are more than may be held.
        """
        self.received += size
        self._admission.uploaded += size
        if self._admission.uploaded > self._admission.max_upload_bytes:
            raise QueueFull("too much is being sent at once; retry later")


class Admission:
    """Counters for the event loop: what does not fit, or comes while closed, is refused at once.

    A request takes no place while its body arrives, or a few clients that send a byte a minute
    would lock out everybody else; bodies have a bound of their own, in bytes. A request that
    finds all places taken is refused before its body is read.

    Args:
        places: how many images may be decoded, waiting or running.
        max_upload_bytes: how much unfinished bodies may hold together.
        upload_seconds: how long one may take.
    """

    def __init__(
        self, places: Callable[[], int], max_upload_bytes: int, upload_seconds: float
    ) -> None:
        self._places = places
        self.max_upload_bytes = max_upload_bytes
        self._upload_seconds = upload_seconds
        self.open = True
        self.inside = 0
        self.uploading = 0
        self.uploaded = 0

    @property
    def idle(self) -> bool:
        """Nobody is inside, and nobody who was let in is still sending."""
        return not (self.inside or self.uploading)

    @asynccontextmanager
    async def upload(self) -> AsyncIterator[Upload]:
        """While a body arrives.

        Raises:
            NotReady: the service is shutting down.
            QueueFull: every place is taken, or too much is arriving.
            BodyTimeout: it took too long.
        """
        if not self.open:
            raise NotReady("the service is shutting down")
        self._check(1)
        upload = Upload(self)
        self.uploading += 1
        try:
            async with asyncio.timeout(self._upload_seconds):
                yield upload
        except TimeoutError as error:
            raise BodyTimeout(
                f"the body was not complete after {self._upload_seconds:g} s"
            ) from error
        finally:
            self.uploading -= 1
            self.uploaded -= upload.received

    @contextmanager
    def place(self, images: int = 1) -> Iterator[None]:
        """Hold a place for every image, from its last byte to its answer.

        Raises:
            QueueFull: so many are not free.
        """
        self._check(images)
        self.inside += images
        try:
            yield
        finally:
            self.inside -= images

    def _check(self, images: int) -> None:
        if self.inside + images > self._places():
            raise QueueFull(f"{self.inside} requests are being answered; retry later")
