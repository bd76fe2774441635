"""Connections are shared out among processes, and none is lost to one that takes none."""

from __future__ import annotations

import asyncio
import socket

from spikeserve.service.processes.door import ABSENT, Door


class Guest(asyncio.Protocol):
    """A connection that counts itself."""

    def __init__(self, inside: list[Guest]) -> None:
        self._inside = inside

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._inside.append(self)
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(b"!")


async def visit(port: int, times: int) -> list[asyncio.StreamWriter]:
    """So many connections one after another, each until it is let in."""
    writers = []
    for _ in range(times):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.readexactly(1)
        writers.append(writer)
    return writers


async def scene() -> tuple[list[int], list[int]]:
    """Guests of two doors: both open, and after the second has been closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        rooms: list[list[Guest]] = [[], []]
        crowds = [ABSENT, ABSENT]

        def door(number: int) -> Door:
            room = rooms[number]
            own = [listener.dup()]
            return Door(own, crowds, number, lambda: len(room), lambda: Guest(room))

        doors = [door(0), door(1)]
        writers = await visit(listener.getsockname()[1], 20)
        both = [len(room) for room in rooms]
        doors[1].close()
        writers += await visit(listener.getsockname()[1], 20)
        one = [len(room) for room in rooms]
        doors[0].close()
        for writer in writers:
            writer.close()
        return both, one


def test_connections_are_shared_out_and_left_to_those_who_accept() -> None:
    both, one = asyncio.run(scene())
    assert both == [10, 10]
    assert one == [30, 10]


async def taken_in_one_turn(waiting: int) -> int:
    """How many of those who wait a lone door takes the first time it is looked at."""
    with socket.create_server(("127.0.0.1", 0), backlog=waiting) as listener:
        clients = [socket.create_connection(listener.getsockname()) for _ in range(waiting)]
        room: list[Guest] = []
        crowds = [ABSENT]
        door = Door([listener.dup()], crowds, 0, lambda: len(room), lambda: Guest(room))
        while not crowds[0]:
            await asyncio.sleep(0)
        taken = crowds[0]
        door.close()
        for client in clients:
            client.close()
        return taken


def test_a_crowd_is_let_in_at_once_so_that_probes_do_not_wait_for_a_turn_each() -> None:
    assert asyncio.run(taken_in_one_turn(30)) == 30
