"""Clients that leave: before their body is complete, from the queue, from a running batch."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tests.load.answers import World
from tests.load.clients import Connection
from tests.load.servers import Series, Service, served
from tests.processes import wait_until
from tests.programs import TIMESTEPS

SLOTS, QUEUE = 4, 64
LEAVING_AT_ONCE = 48
NEIGHBOURS = 4


@pytest.mark.parametrize(
    ("world", "engine", "cancels", "longest_stay_s"),
    [
        ("tiny", "reference", 400, 0.01),
        pytest.param("shipped", "onnx", 4000, 0.05, marks=pytest.mark.verify),
    ],
    indirect=["world"],
)
def test_clients_that_leave_take_everything_along(
    world: World, tmp_path: Path, engine: str, cancels: int, longest_stay_s: float
) -> None:
    flags = ("--engine", engine, "--slots", str(SLOTS), "--queue-timesteps", str(QUEUE))
    with served(world.folder, tmp_path, *flags) as service:
        asyncio.run(assert_places(world, service.port))
        answered = asyncio.run(storm(world, service.port, cancels, longest_stay_s))

        def empty() -> bool:
            series = service.series()
            names = (
                "requests_running", "requests_queued", "pending_timesteps",
                "requests_inside", "uploads", "upload_bytes",
            )  # fmt: skip
            return not any(series.total(f"spikeserve_{name}") for name in names)

        wait_until(empty, "rows of clients that left stayed")
        asyncio.run(assert_places(world, service.port))
        assert_counted(service.series(), service, cancels, answered)


async def storm(world: World, port: int, cancels: int, longest_stay_s: float) -> int:
    """Clients leave at random moments while neighbours go on; how many answers those got."""
    rng = np.random.default_rng(2)
    asks = world.asks(min(cancels, len(world.images)), seed=1)
    crowd = asyncio.Semaphore(LEAVING_AT_ONCE)
    over = asyncio.Event()

    async def leave(number: int) -> None:
        request = asks[number % len(asks)].request
        sent = len(request) if rng.random() < 0.7 else int(rng.integers(1, len(request)))
        stay, abruptly = rng.uniform(0, longest_stay_s), rng.random() < 0.5
        async with crowd:
            connection = await Connection.open(port)
            connection.send(request[:sent])
            await asyncio.sleep(stay)
            if abruptly:
                connection.abort()
            else:
                connection.close()

    async def stay_and_compare(seed: int) -> int:
        mine = world.asks(20, seed)
        expected = world.alone(mine)
        connection, answered = await Connection.open(port), 0
        while not over.is_set() or not answered:
            which = answered % len(mine)
            response = await connection.ask(mine[which].request)
            if response.status == 429:  # the crowd had filled the queue
                await asyncio.sleep(0.005)
                continue
            world.assert_same(response, mine[which], expected[which])
            answered += 1
        connection.close()
        return answered

    neighbours = [asyncio.create_task(stay_and_compare(seed)) for seed in range(NEIGHBOURS)]
    await asyncio.gather(*(leave(number) for number in range(cancels)))
    over.set()
    return sum(await asyncio.gather(*neighbours))


async def assert_places(world: World, port: int) -> None:
    """As many requests fit inside as the settings say, were they to take all timesteps."""
    (wanted,) = world.asks(1)
    inside = [await Connection.open(port) for _ in range(SLOTS + QUEUE // TIMESTEPS)]
    for response in await asyncio.gather(*(one.ask(wanted.request) for one in inside)):
        assert response.status == 200, f"a place was leaked: {response.body!r}"
    for connection in inside:
        connection.close()


def assert_counted(series: Series, service: Service, cancels: int, answered: int) -> None:
    name = "spikeserve_requests_cancelled_total"
    queued = series.total(name, phase="queued")
    running = series.total(name, phase="running")
    left = series.total("spikeserve_requests_total", code="499")
    model = series.total("spikeserve_requests_total", code="499", model="")
    print(
        f"\n{cancels} cancels: {model:.0f} before the body was complete, {queued:.0f} queued, "
        f"{running:.0f} running; {answered} neighbours' answers unchanged"
    )
    assert queued > 0
    assert running > 0
    assert left - model >= queued + running
    assert model > 0
    assert series.total("spikeserve_inferences_total", stop_reason="cancelled") == running
    assert series.total("spikeserve_inferences_total", stop_reason="error") == 0
    assert service.client.get("/livez").status_code == 200
