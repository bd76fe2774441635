"""Takes connections from sockets that several processes share.

A process that is dead, stopped or busy takes none, and the others take its share. Of idle ones the
kernel would wake mostly the same first, so each lets those with fewer connections go before it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, MutableSequence, Sequence

BACKLOG = 2048
COURTESY_S = 0.001
"""How long another process with fewer connections has to take the next one."""
EXHAUSTED_S = 0.1
"""Until the next attempt where this process may open no more files."""
MOST_AT_ONCE = 64
"""Connections taken in one turn of the loop: turns are long while many bodies arrive."""
ABSENT = 1 << 30
"""Connections of a process that takes none."""


class Door:
    """One process's way to let connections in.

    Args:
        crowds: connections by process, in memory that all of them share.
        number: whose place in it is ours.
        crowd: how many connections there are here.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        crowds: MutableSequence[int],
        number: int,
        crowd: Callable[[], int],
        protocol: Callable[[], asyncio.Protocol],
    ) -> None:
        self._listeners = listeners
        self._crowds, self._number, self._crowd = crowds, number, crowd
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._arrivals: set[asyncio.Task[object]] = set()
        self._open = True
        for listener in listeners:
            listener.setblocking(False)
            listener.listen(BACKLOG)
            self._watch(listener)
        self.count()

    def count(self) -> None:
        """Tell the other processes how many connections there are here."""
        if self._open:
            self._crowds[self._number] = self._crowd()

    def close(self) -> None:
        """Take no more; those who wait are left to the other processes."""
        if not self._open:
            return
        self._open = False
        self._crowds[self._number] = ABSENT
        for listener in self._listeners:
            self._loop.remove_reader(listener.fileno())
            listener.close()

    def _watch(self, listener: socket.socket) -> None:
        if self._open:
            self._loop.add_reader(listener.fileno(), self._knock, listener)

    def _knock(self, listener: socket.socket) -> None:
        self.count()
        if self._crowded():
            self._pause(listener, COURTESY_S, self._accept)
        else:
            self._accept(listener)

    def _crowded(self) -> bool:
        return self._crowds[self._number] > min(self._crowds)

    def _accept(self, listener: socket.socket) -> None:
        """Take those who wait, as long as no other process has fewer, so that a crowd is shared."""
        for _ in range(MOST_AT_ONCE):
            if not self._take(listener) or self._crowded():
                return

    def _take(self, listener: socket.socket) -> bool:
        """Whether there was a connection to take."""
        if not self._open:
            return False
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return False  # another process was faster, or the client left
        except OSError:
            self._pause(listener, EXHAUSTED_S)
            return False
        self._crowds[self._number] += 1  # until they are counted
        connection.setblocking(False)
        if listener.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        arrival = self._loop.create_task(
            self._loop.connect_accepted_socket(self._protocol, connection)
        )
        self._arrivals.add(arrival)
        arrival.add_done_callback(self._arrived)
        return True

    def _arrived(self, arrival: asyncio.Task[object]) -> None:
        self._arrivals.discard(arrival)
        if not arrival.cancelled():
            arrival.exception()  # the client has left already
        self.count()

    def _pause(
        self,
        listener: socket.socket,
        seconds: float,
        then: Callable[[socket.socket], None] | None = None,
    ) -> None:
        self._loop.remove_reader(listener.fileno())

        def resume() -> None:
            if then:
                then(listener)
            self._watch(listener)

        self._loop.call_later(seconds, resume)
