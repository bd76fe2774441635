"""Everybody who may come to a service in five minutes: the load behind the dashboard's picture.

Each kind of visitor arrives as a Poisson process; rushes come on top, at which the queue overflows.
"""

from __future__ import annotations

import asyncio
import base64
import io
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import httpx
from PIL import Image

from benchmarks.contenders import Pixels
from spikeserve.service.client import AsyncSpikeServeClient, SpikeServeError

SEED = 0
STRICTEST, LAXEST = 1e-3, 0.3
RUSH_EVERY_S, RUSH_S, RUSH_CLIENTS = 100, 15, 96
RUSH_ROWS = 8
PHOTOS, PHOTO_SIZE = 8, (2400, 1800)
WANTED = (httpx.HTTPError, SpikeServeError, OSError)
"""Refusals and lost connections are what some visitors come for."""


@dataclass(frozen=True)
class Guests:
    """What visitors need: a service, and PNG files for each of its models."""

    host: str
    port: int
    pictures: Mapping[str, list[bytes]]
    photos: list[bytes]
    chance: random.Random
    client: AsyncSpikeServeClient
    http: httpx.AsyncClient

    def pick(self) -> tuple[str, bytes]:
        """A model, the first one most often, and a picture for it."""
        first, *others = self.pictures
        model = self.chance.choice([first, first, first, *others])
        return model, self.chance.choice(self.pictures[model])

    def threshold(self) -> float:
        """Strict and lax ones alike, on a logarithmic scale."""
        return math.exp(self.chance.uniform(math.log(STRICTEST), math.log(LAXEST)))


async def ordinary(guests: Guests) -> None:
    model, picture = guests.pick()
    await guests.client.classify(picture, model=model)


async def particular(guests: Guests) -> None:
    model, picture = guests.pick()
    await guests.client.classify(picture, model=model, entropy_threshold=guests.threshold())


async def watching(guests: Guests) -> None:
    model, picture = guests.pick()
    async for _ in guests.client.stream(picture, model=model, entropy_threshold=0.001):
        pass


async def bulk(guests: Guests) -> None:
    pictures = [guests.pick()[1] for _ in range(guests.chance.randint(2, 12))]
    await guests.client.classify_batch([*pictures, b"no picture"])


async def by_protocol(guests: Guests) -> None:
    model, picture = guests.pick()
    image = {
        "name": "image", "datatype": "BYTES", "shape": [1],
        "data": [base64.b64encode(picture).decode()],
    }  # fmt: skip
    await guests.http.post(f"/v2/models/{model}/infer", json={"inputs": [image]})


async def photographer(guests: Guests) -> None:
    await guests.client.classify(guests.chance.choice(guests.photos))


async def hurried(guests: Guests) -> None:
    model, picture = guests.pick()
    await guests.client.classify(
        picture, model=model, entropy_threshold=0, deadline_ms=3, on_deadline="error"
    )


async def damaged(guests: Guests) -> None:
    _, picture = guests.pick()
    await guests.client.classify(guests.chance.choice([picture[:-200], b"no picture at all"]))


async def mistaken(guests: Guests) -> None:
    path = guests.chance.choice(["?model=unknown", "?threshold=0.1", "?target_accuracy=1"])
    _, picture = guests.pick()
    await guests.http.post(
        f"/classify{path}", content=picture, headers={"Content-Type": "image/png"}
    )


async def impatient(guests: Guests) -> None:
    """Leaves while its image is decoded, waits or runs."""
    _, writer = await asyncio.open_connection(guests.host, guests.port)
    _, picture = guests.pick()
    head = (
        f"POST /classify?entropy_threshold=0 HTTP/1.1\r\nHost: {guests.host}\r\n"
        f"Content-Type: image/png\r\nContent-Length: {len(picture)}\r\n\r\n"
    )
    writer.write(head.encode() + picture)
    await writer.drain()
    await asyncio.sleep(guests.chance.random() * 0.02)
    writer.transport.abort()


Visit = Callable[[Guests], Awaitable[None]]
PER_SECOND: dict[Visit, float] = {
    ordinary: 16,
    particular: 12,
    watching: 1,
    bulk: 0.7,
    by_protocol: 3,
    photographer: 2,
    hurried: 0.7,
    damaged: 0.5,
    mistaken: 0.3,
    impatient: 1.5,
}


async def visit(host: str, port: int, pictures: Mapping[str, list[bytes]], seconds: float) -> None:
    """All visitors for so long."""
    base = f"http://{host}:{port}"
    photos = [_photo(picture) for picture in next(iter(pictures.values()))[:PHOTOS]]
    async with (
        httpx.AsyncClient(base_url=base, trust_env=False, timeout=30) as http,
        AsyncSpikeServeClient(base) as client,
    ):
        guests = Guests(host, port, pictures, photos, random.Random(SEED), client, http)
        end = time.monotonic() + seconds
        await asyncio.gather(
            *(_arrivals(guests, who, rate, end) for who, rate in PER_SECOND.items()),
            _rushes(guests, end),
        )


async def _arrivals(guests: Guests, who: Visit, per_second: float, end: float) -> None:
    under_way: set[asyncio.Task[None]] = set()
    while time.monotonic() < end:
        await asyncio.sleep(guests.chance.expovariate(per_second))
        task = asyncio.create_task(forgiven(who, guests))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)


async def _rushes(guests: Guests, end: float) -> None:
    """Crowds who want all timesteps; each asks again as soon as it is answered or refused."""
    while time.monotonic() + RUSH_EVERY_S / 2 + RUSH_S < end:
        await asyncio.sleep(RUSH_EVERY_S / 2)
        over = time.monotonic() + RUSH_S
        await asyncio.gather(*(_insistent(guests, over) for _ in range(RUSH_CLIENTS)))
        await asyncio.sleep(RUSH_EVERY_S / 2 - RUSH_S)


async def _insistent(guests: Guests, over: float) -> None:
    while time.monotonic() < over:
        await forgiven(_demanding, guests)
        await asyncio.sleep(0.1 * guests.chance.random())


async def _demanding(guests: Guests) -> None:
    model, picture = guests.pick()
    if guests.chance.random() < 0.5:
        await guests.client.classify(picture, model=model, entropy_threshold=0)
    else:
        await guests.client.classify_batch([picture] * RUSH_ROWS, model=model, entropy_threshold=0)


async def forgiven(who: Visit, guests: Guests) -> None:
    """A visit, come what may."""
    with suppress(*WANTED):
        await who(guests)


def files(images: Pixels) -> list[bytes]:
    """PNG files of images ``[N, H, W, 3]``."""
    return [_file(Image.fromarray(pixels), "PNG") for pixels in images]


def _photo(picture: bytes) -> bytes:
    return _file(Image.open(io.BytesIO(picture)).resize(PHOTO_SIZE), "JPEG")


def _file(image: Image.Image, kind: str) -> bytes:
    with io.BytesIO() as buffer:
        image.save(buffer, kind)
        return buffer.getvalue()
