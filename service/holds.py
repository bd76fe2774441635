"""What keeps a worker open: requests that have submitted some of their rows, and not yet all."""

from __future__ import annotations

import threading


class Holds:
    """To be entered for as long as rows of one request are submitted."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = threading.Condition()

    def __enter__(self) -> None:
        with self._changed:
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Until nobody holds any more, or so long."""
        with self._changed:
            self._changed.wait_for(lambda: not self._count, max(0.0, seconds))
