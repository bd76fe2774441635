"""Bodies that never end: they take no place from anybody, and time runs out for them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from tests.load.answers import World
from tests.load.clients import ask, connected, post
from tests.load.servers import Service, served
from tests.processes import wait_until

HALF = b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\nabc"
DAWDLERS = 100


def test_half_sent_bodies_lock_nobody_out_and_end_with_408(tiny: World, tmp_path: Path) -> None:
    (wanted,) = tiny.asks(1)
    (row,) = tiny.alone([wanted])
    flags = ("--slots", "1", "--queue-timesteps", "4", "--body-timeout-seconds", "1")

    async def dawdle(port: int, released: asyncio.Event) -> int:
        async with connected(port) as connection:
            connection.send(HALF % 5)
            released.set()
            return (await connection.response(time.perf_counter())).status

    async def crowd(port: int) -> list[int]:
        events = [asyncio.Event() for _ in range(DAWDLERS)]
        dawdlers = [asyncio.create_task(dawdle(port, event)) for event in events]
        await asyncio.gather(*(event.wait() for event in events))
        tiny.assert_same(await ask(port, wanted.request), wanted, row)
        return await asyncio.gather(*dawdlers)

    with served(tiny.folder, tmp_path, *flags) as service:
        statuses = asyncio.run(crowd(service.port))
    print(f"{DAWDLERS} half-sent bodies: {set(statuses)}; others answered meanwhile")
    assert set(statuses) == {408}


def test_all_bodies_together_are_bounded(tiny: World, tmp_path: Path) -> None:
    flags = ("--max-total-upload-bytes", "100000", "--body-timeout-seconds", "5")

    def arrived(service: Service) -> bool:
        return service.series().total("spikeserve_upload_bytes") > 80_000

    async def crowd(service: Service) -> tuple[int, int]:
        port = service.port
        async with connected(port) as first, connected(port) as second:
            first.send(HALF % 90_000 + b"x" * 80_000)
            await asyncio.to_thread(wait_until, lambda: arrived(service), "no body arrived")
            second.send(HALF % 90_000 + b"x" * 80_000)
            refused = (await second.response(time.perf_counter())).status
            late = (await first.response(time.perf_counter())).status
        return refused, late

    with served(tiny.folder, tmp_path, *flags) as service:
        assert asyncio.run(crowd(service)) == (429, 408)
        assert asyncio.run(ask(service.port, post(b"no image"))).status == 415
