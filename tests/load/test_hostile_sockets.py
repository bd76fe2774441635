"""Clients that break HTTP, dawdle, or send files that were tampered with: others do not notice."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import numpy as np
import pytest

from tests.hostile.files import ACCEPTED, PHOTO, REFUSED, saved
from tests.load.answers import World
from tests.load.clients import LOST, Connection, ask, connected, get, post
from tests.load.servers import Service

ENOUGH_S = 0.2
"""After which a service that says nothing is taken to wait for more."""
DRIP_S = 0.05
VALID = get("/livez")
START = b"POST /classify HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = START + b"Transfer-Encoding: chunked\r\n\r\n"
BROKEN = {
    "a chunk size that is no number": CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n",
    "a negative chunk size": CHUNKED + b"-5\r\nabc\r\n0\r\n\r\n",
    "an enormous chunk size": CHUNKED + b"f" * 40 + b"\r\nabc\r\n",
    "a chunk longer than it says": CHUNKED + b"2\r\nabcdef\r\n0\r\n\r\n",
    "a body that ends nowhere": CHUNKED + b"3\r\nabc",
    "a negative length": START + b"Content-Length: -1\r\n\r\nabc",
    "a length that is no number": START + b"Content-Length: many\r\n\r\nabc",
    "an enormous length": START + b"Content-Length: " + b"9" * 40 + b"\r\n\r\nabc",
    "two lengths": START + b"Content-Length: 3\r\nContent-Length: 5\r\n\r\nabcde",
    "a length and chunks": START
    + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "garbage behind a request": VALID + b"\0\xff\xfe nonsense\r\n\r\n",
    "garbage behind a body": post(b"abc") + b"def" * 100 + b"\r\n\r\n",
    "no request at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64,
    "an endless first line": b"GET /" + b"a" * 200_000,
    "an enormous header": START + b"X-Long: " + b"a" * 200_000 + b"\r\n\r\n",
    "ten thousand headers": START + b"X-Many: a\r\n" * 10_000 + b"\r\n",
    "a header without a colon": START + b"nothing\r\n\r\n",
    "a header with a null": START + b"X-Null: a\0b\r\n\r\n",
    "a version from the future": b"GET /livez HTTP/9.9\r\n\r\n",
    "an upgrade": START + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    "a path out of the house": b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a path of broken escapes": b"GET /%ff%00%zz HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_broken_http_is_refused_and_forgotten(
    tiny: World, tiny_service: Service, name: str
) -> None:
    (wanted,) = tiny.asks(1)
    (row,) = tiny.alone([wanted])

    async def send_and_look() -> None:
        async with connected(tiny_service.port) as connection:
            connection.send(BROKEN[name])
            for status in await everything(connection):
                assert status < 500
        tiny.assert_same(await ask(tiny_service.port, wanted.request), wanted, row)

    asyncio.run(send_and_look())


async def everything(connection: Connection) -> list[int]:
    """The status of every answer, until the connection ends or nothing more comes."""
    statuses = []
    try:
        while True:
            response = await asyncio.wait_for(connection.response(0.0), ENOUGH_S)
            statuses.append(response.status)
    except (*LOST, TimeoutError):
        return statuses


def test_pipelined_requests_are_answered_in_their_order(tiny: World, tiny_service: Service) -> None:
    asks = tiny.asks(20)

    async def pipeline() -> None:
        async with connected(tiny_service.port) as connection:
            connection.send(b"".join(wanted.request for wanted in asks))
            for wanted, row in zip(asks, tiny.alone(asks), strict=True):
                tiny.assert_same(await connection.response(0.0), wanted, row)

    asyncio.run(pipeline())


@pytest.mark.parametrize("slow", [100, pytest.param(1000, marks=pytest.mark.verify)])
def test_slow_clients_hold_up_nobody(tiny: World, tiny_service: Service, slow: int) -> None:
    """Half of them dawdle in the head of their request, half in its body."""
    asks = tiny.asks(100)
    head = START + b"X-Slow: "
    body = START + b"Content-Length: 1000000\r\n\r\n"

    async def dawdle(connections: list[Connection]) -> None:
        while True:
            for connection in connections:
                connection.send(b"a")
            await asyncio.sleep(DRIP_S)

    async def neighbours() -> None:
        async with AsyncExitStack() as stack:
            crowd = [
                await stack.enter_async_context(connected(tiny_service.port)) for _ in range(slow)
            ]
            for number, connection in enumerate(crowd):
                connection.send(head if number % 2 else body)
            dawdling = asyncio.create_task(dawdle(crowd))
            for wanted, row in zip(asks, tiny.alone(asks), strict=True):
                tiny.assert_same(await ask(tiny_service.port, wanted.request), wanted, row)
            dawdling.cancel()
        print(f"\n{slow} slow clients, {len(asks)} neighbours answered")

    asyncio.run(neighbours())


@pytest.mark.parametrize("bodies", [200, pytest.param(5000, marks=pytest.mark.verify)])
def test_tampered_files_are_the_senders_problem(tiny_service: Service, bodies: int) -> None:
    rng = np.random.default_rng(9)
    originals = [make() for make in ACCEPTED.values()] + [make() for make, _ in REFUSED.values()]
    originals += [saved(PHOTO, "PNG"), saved(PHOTO, "JPEG")] * 10
    statuses: Counter[int] = Counter()

    async def send_all() -> None:
        async with connected(tiny_service.port) as connection:
            for number in range(bodies):
                data = tampered(originals[number % len(originals)], rng)
                statuses[(await connection.ask(post(data))).status] += 1

    asyncio.run(send_all())
    print(f"\n{bodies} tampered files: {dict(statuses)}")
    assert set(statuses) <= {200, 415, 422}
    assert tiny_service.client.get("/livez").status_code == 200


def tampered(data: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, some taken out, some doubled."""
    if not data:
        return data
    copy = bytearray(data)
    for _ in range(rng.integers(1, 8)):
        copy[rng.integers(len(copy))] = rng.integers(256)
    start, length = rng.integers(len(copy)), int(rng.integers(1, 64))
    match rng.integers(3):
        case 0:
            del copy[start : start + length]
        case 1:
            copy[start:start] = copy[start : start + length]
    return bytes(copy)


def test_a_refusal_of_a_body_that_was_never_sent_ends_the_connection(tiny_service: Service) -> None:
    """What comes next on it would be taken for the body."""
    announced = b"POST /classify?top_k=0 HTTP/1.1\r\nHost: localhost\r\n"
    announced += b"Expect: 100-continue\r\nContent-Length: 5000\r\n\r\n"

    async def ask_twice() -> tuple[int, str]:
        async with connected(tiny_service.port) as connection:
            refused = await connection.ask(announced)
            return refused.status, refused.headers["connection"]

    assert asyncio.run(ask_twice()) == (422, "close")


def test_requests_that_wait_for_no_answer_are_not_collected(tiny_service: Service) -> None:
    async def flood() -> None:
        async with connected(tiny_service.port) as connection:
            for _ in range(200):
                connection.send(get("/v1/nothing") * 1000)
                await asyncio.sleep(0.001)

    before = tiny_service.series().total("process_resident_memory_bytes")
    asyncio.run(flood())
    grown = tiny_service.series().total("process_resident_memory_bytes") - before
    print(f"\n200,000 requests on one connection: {grown / 2**20:+.1f} MiB")
    assert grown < 64 * 2**20
