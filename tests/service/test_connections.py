"""No phase of a connection is without end, and those that only wait give way to newcomers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from spikeserve.service.http.connections import (
    Connections,
    Limits,
    Phase,
    most_connections,
)
from spikeserve.service.http.protocol import Protocol
from spikeserve.service.metrics import Metrics

LIMITS = Limits(
    most=8, reserve=2, body_seconds=-0.9, send_seconds=0.1, discarded_bytes=1000, head_seconds=0.1,
    idle_seconds=0.1, linger_seconds=0.1, young_seconds=10.0, look_seconds=0.02,
)  # fmt: skip
SOON_S = 10.0
HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
LATE_S = 0.5
left: list[str] = []
"""What the application heard while it let its clients wait."""
BIG = b"a" * (32 << 20)


async def answered(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that answers at once, or as its path says."""
    if scope["path"] == "/late":
        await receive()
        with suppress(TimeoutError):
            async with asyncio.timeout(LATE_S):
                left.append((await receive())["type"])
    body = BIG if scope["path"] == "/big" else b"ok"
    length = str(len(body)).encode()
    start: dict[str, Any] = {"type": "http.response.start", "status": 200}
    await send(start | {"headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Any]]


def served(*clients: Client, limits: Limits = LIMITS) -> list[Any]:
    """What each client saw of a server with these limits."""

    async def run() -> list[Any]:
        config = Config(answered, ws="none", log_level="critical", lifespan="off")
        config.load()
        state, rules = ServerState(), Connections(limits, Metrics())
        protocol = partial(Protocol, rules, config=config, server_state=state, app_state={})
        loop = asyncio.get_running_loop()
        server = await loop.create_server(protocol, "127.0.0.1", 0)
        watching = asyncio.create_task(rules.watch(state.connections))  # type: ignore[arg-type]
        host, port = server.sockets[0].getsockname()
        seen = []
        for client in clients:
            reader, writer = await asyncio.open_connection(host, port, limit=1 << 26)
            async with asyncio.timeout(SOON_S):
                seen.append(await client(reader, writer))
            writer.close()
        async with asyncio.timeout(SOON_S):
            while state.connections:
                await asyncio.sleep(0.01)
        watching.cancel()
        server.close()
        return seen

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"", b""),
        (b"\r\n\r\n", b"HTTP/1.1 408"),
        (HEAD, b"HTTP/1.1 408"),
        (HEAD + b"\r\n", b"HTTP/1.1 200"),
        (HEAD + b"\r\n" + HEAD, b"HTTP/1.1 200"),
        (HEAD + b"Content-Length: 5\r\n\r\nab", b"HTTP/1.1 200"),
        (HEAD + b"Connection: close\r\nContent-Length: 5\r\n\r\nab", b"HTTP/1.1 200"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nA: b", b"HTTP/1.1 200"),
        (HEAD + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", b"HTTP/1.1 200"),
    ],
)
def test_who_says_no_more_is_let_go(said: bytes, answer: bytes) -> None:
    """Whatever it was at."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(said)
        return await reader.read()

    (seen,) = served(client)
    assert seen.startswith(answer)
    assert bool(seen) == bool(answer)


def test_who_does_not_read_is_let_go() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        transport: Any = writer.transport
        transport.pause_reading()
        writer.write(HEAD.replace(b"/", b"/big", 1) + b"\r\n")
        await asyncio.sleep(1.0)
        transport.resume_reading()
        received = 0
        with suppress(ConnectionError):
            while more := await reader.read(1 << 20):
                received += len(more)
        return received

    (received,) = served(client)
    assert received < len(BIG)


def test_a_rest_without_end_is_not_read_for_ever() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(HEAD + b"Content-Length: 100000\r\n\r\n")
        await reader.readuntil(b"ok")
        try:
            for _ in range(500):
                writer.write(b"a" * 100)
                await writer.drain()
                await asyncio.sleep(0.001)
        except ConnectionError:
            return True
        return False

    assert served(client, limits=replace(LIMITS, body_seconds=60)) == [True]


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_client_that_closes_its_own_side_waits_for_its_answer(version: bytes) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(HEAD.replace(b"/ HTTP/1.1", b"/late HTTP/" + version) + b"\r\n")
        writer.write_eof()
        return await reader.read()

    left.clear()
    ((*interim, answer),) = [seen.split(b"HTTP/1.1 ")[1:] for seen in served(client)]
    assert answer.startswith(b"200")
    assert interim == ([b"100 Continue\r\n\r\n"] if version == b"1.1" else [])
    assert left == []


def test_a_client_that_closes_both_sides_has_left() -> None:
    async def client(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD.replace(b"/", b"/late", 1) + b"\r\n")
        await writer.drain()
        writer.close()

    left.clear()
    served(client)
    assert left == ["http.disconnect"]


@dataclass
class Waiting:
    phase: Phase
    since: float
    gone: bool = field(default=False)

    def look(self, now: float) -> None:
        raise AssertionError(now)

    def evict(self) -> None:
        self.gone = True


def evicted(connections: list[Waiting], now: float) -> tuple[bool, list[int]]:
    admitted = Connections(LIMITS, Metrics()).admit(connections, now)
    return admitted, [number for number, one in enumerate(connections) if one.gone]


def test_the_oldest_that_only_wait_give_way() -> None:
    """Half heads before idle ones, these before half bodies, and never who waits for an answer."""
    now, newcomer = 100.0, Waiting(Phase.HEAD, 100.0)
    crowd = [Waiting(Phase.ANSWER, 0.0) for _ in range(6)]
    assert evicted([*crowd, Waiting(Phase.IDLE, 5.0), newcomer], now) == (True, [])
    assert evicted([*crowd, Waiting(Phase.IDLE, 5.0), Waiting(Phase.HEAD, 9.0), newcomer], now) == (
        True,
        [7],
    )
    bodies = [Waiting(Phase.BODY, 7.0), Waiting(Phase.BODY, 6.0)]
    assert evicted([*crowd, *bodies, newcomer], now) == (True, [7])
    busy = [Waiting(Phase.ANSWER, 0.0) for _ in range(8)]
    assert evicted([*busy, newcomer], now) == (False, [])
    busy += [Waiting(Phase.ANSWER, 0.0) for _ in range(2)]
    assert evicted([*busy, newcomer], now) == (False, [10])


def test_who_has_only_just_come_gives_way_only_where_the_reserve_is_used_up() -> None:
    now = 100.0
    young = [Waiting(Phase.HEAD, now - 1) for _ in range(10)]
    assert evicted(young, now) == (False, [])
    young = [Waiting(Phase.HEAD, now - 1) for _ in range(11)]
    assert evicted(young, now) == (True, [0, 1, 2])


def test_who_has_only_just_come_gives_way_to_who_speaks() -> None:
    now = 100.0
    young = [Waiting(Phase.HEAD, now - 1) for _ in range(9)]
    assert Connections(LIMITS, Metrics()).admit(young, now, young[0])
    assert [number for number, one in enumerate(young) if one.gone] == [1]
    busy = [Waiting(Phase.HEAD, now), *(Waiting(Phase.ANSWER, 0.0) for _ in range(8))]
    assert not Connections(LIMITS, Metrics()).admit(busy, now, busy[0])


def test_open_files_bound_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    assert most_connections(0) == 160
    assert most_connections(100) == 100
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert most_connections(0) == 4096
    raised = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 100_000))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
    assert most_connections(10_000) == 10_000
    assert raised == [(65536, 100_000)]
