"""A full queue: refusals are quick and polite, memory stays, probes are answered."""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path

import pytest

from spikeserve.models.exits import ExitPolicy
from tests.load.answers import Ask, World
from tests.load.clients import Connection, Response, ask, get
from tests.load.servers import served

SLOTS, QUEUE = 4, 32
FILLERS = SLOTS + QUEUE + 12  # more would measure how fast these clients are
PROBES = ("/livez", "/readyz", "/metrics")
PATIENCE_S = 0.05
REFUSAL_S = 0.010
GROWTH_BYTES = 8 << 20


@pytest.mark.parametrize(
    ("world", "engine", "seconds", "measured"),
    [
        ("tiny", "reference", 1.0, False),
        pytest.param("shipped", "onnx", 20, True, marks=pytest.mark.verify),
    ],
    indirect=["world"],
)
def test_a_full_queue_refuses_at_once_and_stays_observable(
    world: World, tmp_path: Path, engine: str, seconds: float, measured: bool
) -> None:
    flags = ("--engine", engine, "--slots", str(SLOTS), "--queue-timesteps", str(QUEUE))
    with served(world.folder, tmp_path, *flags) as service:
        memory = "process_resident_memory_bytes"
        asyncio.run(saturated(world, service.port, seconds / 4))
        before = service.series().total(memory)
        refusals, answers = asyncio.run(saturated(world, service.port, seconds))
        grown = service.series().total(memory) - before
    assert refusals
    assert answers
    for refusal in refusals:
        assert refusal.status == 429, refusal.body
        assert int(refusal.headers["retry-after"]) >= 1
        assert refusal.headers["content-type"] == "application/problem+json"
    times = [refusal.seconds for refusal in refusals]
    median = statistics.median(times)
    print(
        f"\nsaturated for {seconds} s: {len(answers)} answers, {len(refusals)} refusals, "
        f"median {1000 * median:.1f} ms, longest {1000 * max(times):.1f} ms, "
        f"resident memory {grown / 2**20:+.1f} MiB"
    )
    if measured:
        assert median <= REFUSAL_S
        assert grown < GROWTH_BYTES


async def saturated(
    world: World, port: int, seconds: float
) -> tuple[list[Response], list[Response]]:
    """Keep the queue full; what came back refused, and answered."""
    until = time.monotonic() + seconds
    limit = world.manifest.timesteps
    wanted = Ask(world.images[0], ExitPolicy(0.0, limit, limit))
    (row,) = world.alone([wanted])
    refusals: list[Response] = []
    answers: list[Response] = []

    async def fill() -> None:
        connection = await Connection.open(port)
        while time.monotonic() < until:
            response = await connection.ask(wanted.request)
            if response.status == 200:
                world.assert_same(response, wanted, row)
                answers.append(response)
            else:
                refusals.append(response)
                await asyncio.sleep(PATIENCE_S)
        connection.close()

    async def probe(path: str) -> None:
        while time.monotonic() < until:
            assert (await ask(port, get(path))).status == 200
            await asyncio.sleep(PATIENCE_S)

    await asyncio.gather(*(fill() for _ in range(FILLERS)), *(probe(path) for path in PROBES))
    return refusals, answers
