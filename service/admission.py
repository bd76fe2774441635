"""How many requests may be inside at once, from their first byte to their answer."""

from __future__ import annotations

from types import TracebackType

from service.errors import QueueFull


class Admission:
    """A counter for the event loop: entering past the limit is refused at once.

    It stands before the body is read and the image decoded, since both cost memory and
    time that a full queue should not spend.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.inside = 0

    def __enter__(self) -> None:
        if self.inside >= self.limit:
            raise QueueFull(f"{self.inside} requests are being answered; retry later")
        self.inside += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.inside -= 1
