"""Many clients at once: nobody gets somebody else's answer, and no answer depends on neighbours."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.load.answers import World
from tests.load.clients import Connection
from tests.load.servers import Service


@pytest.mark.parametrize(
    ("world", "clients"),
    [("tiny", 200), pytest.param("shipped", 1000, marks=pytest.mark.verify)],
    indirect=["world"],
)
def test_parallel_answers_are_each_clients_own(
    world: World, service: Service, clients: int
) -> None:
    asks = world.asks(clients)

    async def everybody() -> None:
        connections = [await Connection.open(service.port) for _ in asks]
        started = time.perf_counter()
        for connection, ask in zip(connections, asks, strict=True):
            connection.send(ask.request)
        responses = [await connection.response(started) for connection in connections]
        seconds = time.perf_counter() - started
        for connection in connections:
            connection.close()
        for response, ask, row in zip(responses, asks, world.alone(asks), strict=True):
            world.assert_same(response, ask, row)
        print(f"\n{clients} parallel clients: 0 swapped, {clients / seconds:.0f} answers a second")

    asyncio.run(everybody())
    series = service.series()
    assert series.total("spikeserve_batch_rows_bucket", le="1.0") < series.total(
        "spikeserve_batch_rows_count"
    ), "rows never shared a batch: this run proved nothing"
