"""Clients on raw sockets: many at once, cheap, and able to leave in the middle of a sentence."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

LOST = (OSError, asyncio.IncompleteReadError)
"""What a client meets whose connection ends."""


@dataclass(frozen=True)
class Response:
    """An HTTP answer, and how long after the request it was complete."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def post(body: bytes, query: str = "") -> bytes:
    """A whole request to ``/classify``."""
    return (
        f"POST /classify{query} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


class Connection:
    """One keep-alive connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def ask(self, request: bytes) -> Response:
        """Send a request and wait for its answer.

        Raises:
            OSError, IncompleteReadError: the connection ended before an answer began.
            AssertionError: it ended in the middle of one.
        """
        started = time.perf_counter()
        self.send(request)
        return await self.response(started)

    async def response(self, started: float) -> Response:
        """The next answer, to a request sent at ``started``."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except LOST as error:
            self.close()
            if getattr(error, "partial", b""):
                raise AssertionError(f"an answer was cut off: {error!r}") from error
            raise
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines if line)
        }
        try:
            body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        except LOST as error:
            raise AssertionError(f"an answer was cut off after {head!r}") from error
        return Response(int(status.split()[1]), headers, body, time.perf_counter() - started)

    def close(self) -> None:
        self._writer.close()

    def abort(self) -> None:
        """Leave at once: what is still to be sent is thrown away."""
        self._writer.transport.abort()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    connection = await Connection.open(port)
    try:
        yield connection
    finally:
        connection.close()


async def ask(port: int, request: bytes) -> Response:
    """One request on a connection of its own."""
    async with connected(port) as connection:
        return await connection.ask(request)
