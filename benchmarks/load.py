"""Load on one server, from a process of its own; prints one JSON document.

    python -m benchmarks.load closed --port 8000 --pictures FOLDER --connections 32
    python -m benchmarks.load open --port 8000 --pictures FOLDER --rate 800
    python -m benchmarks.load once --port 8000 --pictures FOLDER

``closed``: every connection sends its next request when it has its answer; measures capacity.
``open``: requests arrive as a Poisson process whatever the server does, and latency counts
from when a request was due, so that a slow server cannot make its own load lighter.
``once``: every picture once; the answers are part of the document.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Protocol, cast

import uvloop

from benchmarks.outcomes import (
    LOST,
    Answer,
    Document,
    Outcome,
    arrivals,
    open_summary,
    parsed,
    percentile,
    summary,
    thresholds_of,
)

HOST = "127.0.0.1"
WARM_CONNECTIONS = 16
ONCE_S = 120
SWITCH_S = 0.0005  # the pacing thread must get its turn in time


def request(path: str, picture: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: image/png\r\n"
        f"Content-Length: {len(picture)}\r\n\r\n"
    )
    return head.encode() + picture


class Client(Protocol):
    """Says what a connection does next."""

    requests: Sequence[bytes]

    def ready(self, connection: Connection) -> None: ...
    def ended(self, connection: Connection, outcome: Outcome) -> None: ...
    def lost(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._request: tuple[int, float] | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._client.ready(self)

    def send(self, number: int, due: float) -> None:
        self._request = (number, due)
        self._transport.write(self._client.requests[number])

    def data_received(self, data: bytes) -> None:
        self._received += data
        answer = parsed(self._received)
        if answer is not None:
            self._received = b""
            self._end(answer)
            self._client.ready(self)

    def connection_lost(self, _error: Exception | None) -> None:
        self._client.lost(self)
        if self._request:
            self._end(LOST)

    def _end(self, answer: Answer) -> None:
        assert self._request
        number, due = self._request
        self._request = None
        self._client.ended(self, Outcome(number, time.perf_counter() - due, answer))


class ClosedLoop:
    """Sends the next request as soon as there is an answer, as long as there are numbers."""

    def __init__(self, requests: Sequence[bytes], numbers: Iterator[int]) -> None:
        self.requests = requests
        self.outcomes: list[Outcome] = []
        self.finished = asyncio.Event()
        self._numbers = numbers
        self._open = 0

    async def connect(self, port: int, connections: int) -> None:
        loop = asyncio.get_running_loop()
        self._open = connections
        for _ in range(connections):
            await loop.create_connection(lambda: Connection(self), HOST, port)

    def ready(self, connection: Connection) -> None:
        number = next(self._numbers, None)
        if number is not None:
            connection.send(number, time.perf_counter())
            return
        self._leave()

    def ended(self, _connection: Connection, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def lost(self, _connection: Connection) -> None:
        self._leave()

    def _leave(self) -> None:
        self._open -= 1
        if self._open == 0:
            self.finished.set()


class OpenLoop:
    """Sends what is due on a free connection, opening more up to a limit."""

    def __init__(self, requests: Sequence[bytes], port: int, limit: int) -> None:
        self.requests = requests
        self.outcomes: list[Outcome] = []
        self.lags: list[float] = []
        self._port = port
        self._limit = limit
        self._open = 0
        self._opening: set[asyncio.Task[None]] = set()
        self._free: list[Connection] = []
        self._waiting: deque[tuple[int, float]] = deque()

    def grow(self) -> None:
        self._open += 1
        task = asyncio.get_running_loop().create_task(self._connect())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: Connection(self), HOST, self._port)
        except OSError:
            self._open -= 1

    def arrive(self, number: int, due: float) -> None:
        self.lags.append(time.perf_counter() - due)
        if self._free:
            self._free.pop().send(number, due)
            return
        self._waiting.append((number, due))
        if self._open < self._limit and len(self._opening) < len(self._waiting):
            self.grow()

    def ready(self, connection: Connection) -> None:
        if self._waiting:
            connection.send(*self._waiting.popleft())
        else:
            self._free.append(connection)

    def ended(self, _connection: Connection, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def lost(self, connection: Connection) -> None:
        self._open -= 1
        if connection in self._free:
            self._free.remove(connection)


async def closed(
    requests: Sequence[bytes], port: int, connections: int, warm: float, seconds: float
) -> Document:
    client = ClosedLoop(requests, cycle(range(len(requests))))
    await client.connect(port, connections)
    await asyncio.sleep(warm)
    client.outcomes.clear()
    cpu, began = time.process_time(), time.perf_counter()
    await asyncio.sleep(seconds)
    spent, passed = time.process_time() - cpu, time.perf_counter() - began
    outcomes = list(client.outcomes)
    return {
        **summary(outcomes, [outcome.seconds for outcome in outcomes]),
        "rate": sum(outcome.answer.status == 200 for outcome in outcomes) / passed,
        "client_cpu": spent / passed,
    }


async def once(requests: Sequence[bytes], port: int, connections: int) -> Document:
    client = ClosedLoop(requests, iter(range(len(requests))))
    await client.connect(port, connections)
    await asyncio.wait_for(client.finished.wait(), ONCE_S)
    classes: list[int | None] = [None] * len(requests)
    timesteps: list[int | None] = [None] * len(requests)
    for outcome in client.outcomes:
        if outcome.answer.status == 200:
            answer = json.loads(outcome.answer.body)
            classes[outcome.number] = answer["prediction"]["index"]
            timesteps[outcome.number] = answer["timesteps_used"]
    seconds = [outcome.seconds for outcome in client.outcomes]
    return {**summary(client.outcomes, seconds), "classes": classes, "timesteps": timesteps}


async def opened(
    requests: Sequence[bytes],
    port: int,
    limit: int,
    rate: float,
    seconds: float,
    timeout: float,
    seed: int,
) -> Document:
    client = OpenLoop(requests, port, limit)
    for _ in range(min(limit, WARM_CONNECTIONS)):
        client.grow()
    await asyncio.sleep(0.2)
    schedule = arrivals(rate, seconds, seed)
    loop, all_due = asyncio.get_running_loop(), asyncio.Event()
    cpu, began = time.process_time(), time.perf_counter()

    def pace() -> None:  # a thread, because the loop's own timers only know milliseconds
        for number, after in enumerate(schedule):
            due = began + after
            time.sleep(max(0.0, due - time.perf_counter()))
            loop.call_soon_threadsafe(client.arrive, number % len(requests), due)
        loop.call_soon_threadsafe(all_due.set)

    threading.Thread(target=pace, daemon=True).start()
    await all_due.wait()
    await asyncio.sleep(max(0.0, began + seconds - time.perf_counter()))
    spent, passed = time.process_time() - cpu, time.perf_counter() - began
    while len(client.outcomes) < len(schedule):
        if time.perf_counter() > began + seconds + timeout:
            break
        await asyncio.sleep(0.005)
    return {
        **open_summary(list(client.outcomes), len(schedule), seconds, timeout),
        "client_cpu": spent / passed,
        "max_lag_ms": round(max(client.lags, default=0.0) * 1000, 3),
        "p99_lag_ms": round(percentile(client.lags, 0.99) * 1000, 3),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("mode", choices=("closed", "open", "once"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pictures", type=Path, required=True, help="folder of PNG files")
    parser.add_argument("--thresholds", type=float, nargs="*", default=(), help="drawn by picture")
    parser.add_argument("--connections", type=int, default=512, help="open: at most so many")
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--warm", type=float, default=0.5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--timeout", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    o = parser.parse_args(arguments)
    pictures = [path.read_bytes() for path in sorted(o.pictures.glob("*.png"))]
    thresholds = thresholds_of(len(pictures), o.thresholds, o.seed)
    paths = ["/classify" if t is None else f"/classify?entropy_threshold={t}" for t in thresholds]
    requests = [request(path, data) for path, data in zip(paths, pictures, strict=True)]
    sys.setswitchinterval(SWITCH_S)
    if o.mode == "closed":
        work = closed(requests, o.port, o.connections, o.warm, o.seconds)
    elif o.mode == "open":
        work = opened(requests, o.port, o.connections, o.rate, o.seconds, o.timeout, o.seed)
    else:
        work = once(requests, o.port, o.connections)
    print(json.dumps(uvloop.run(work)))


if __name__ == "__main__":
    main()
