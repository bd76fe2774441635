"""How many requests may be inside at once, from their first byte to their answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.errors import NotReady, QueueFull


class Admission:
    """A counter for the event loop: entering past the limit, or while closed, is refused at once.

    It stands before the body is read and the image decoded, since both cost memory and
    time that a full queue should not spend.
    """

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self.inside = 0
        self.open = True

    @contextmanager
    def place(self, images: int = 1) -> Iterator[None]:
        """Hold a place for every image while the request is answered.

        Raises:
            NotReady: the service is shutting down.
            QueueFull: every place is taken.
        """
        if not self.open:
            raise NotReady("the service is shutting down")
        if self.inside + images > self._limit():
            raise QueueFull(f"{self.inside} requests are being answered; retry later")
        self.inside += images
        try:
            yield
        finally:
            self.inside -= images
