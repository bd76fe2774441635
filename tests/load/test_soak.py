"""A long time at four fifths of what the service can do: nothing grows."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass

import numpy as np
import pytest

from spikeserve.models.inference import Row
from tests.load.answers import Ask, World
from tests.load.clients import Connection
from tests.load.servers import Service

CLIENTS = 16
SHARE = 0.8
WARM_UP_SHARE = 0.25
MINUTE = 60
LONG_S = 10 * MINUTE
SLOPE_BYTES_A_MINUTE = 1 << 20
LEAK_BYTES = 64 << 20
SAMPLES = 100


@dataclass(frozen=True)
class Sample:
    seconds: float
    memory: float
    files: float
    threads: int

    @classmethod
    def of(cls, service: Service, seconds: float) -> Sample:
        series = service.series()
        return cls(
            seconds,
            series.total("process_resident_memory_bytes"),
            series.total("process_open_fds"),
            service.threads,
        )


@pytest.mark.parametrize(
    ("world", "seconds"),
    [("tiny", 2.0), pytest.param("shipped", LONG_S, marks=pytest.mark.verify)],
    indirect=["world"],
)
def test_nothing_grows(world: World, service: Service, seconds: float) -> None:
    asks = world.asks(500)
    rows = world.alone(asks)
    fastest = asyncio.run(loaded(world, service.port, asks, rows, max(0.5, seconds / 60)))
    samples: list[Sample] = []

    async def soak() -> float:
        async def watch() -> None:
            started = time.monotonic()
            while True:
                seen = await asyncio.to_thread(Sample.of, service, time.monotonic() - started)
                samples.append(seen)
                await asyncio.sleep(seconds / SAMPLES)

        watching = asyncio.create_task(watch())
        rate = await loaded(world, service.port, asks, rows, seconds, SHARE * fastest)
        watching.cancel()
        return rate

    rate = asyncio.run(soak())
    warm = [sample for sample in samples if sample.seconds >= WARM_UP_SHARE * seconds]
    at, memory = [s.seconds / MINUTE for s in warm], [s.memory for s in warm]
    slope = float(np.polyfit(at, memory, 1)[0])
    print(
        f"\n{seconds:.0f} s at {rate:.0f} of {fastest:.0f} answers a second: resident memory "
        f"{memory[-1] / 2**20:.0f} MiB, {slope / 2**20:+.2f} MiB a minute, "
        f"{warm[0].files:.0f} to {warm[-1].files:.0f} open files, "
        f"{warm[0].threads} to {warm[-1].threads} threads"
    )
    assert warm[-1].files <= warm[0].files + 2
    assert warm[-1].threads <= warm[0].threads
    assert memory[-1] - memory[0] < LEAK_BYTES
    if seconds >= LONG_S:
        assert slope < SLOPE_BYTES_A_MINUTE


async def loaded(
    world: World,
    port: int,
    asks: list[Ask],
    rows: list[Row],
    seconds: float,
    rate: float = float("inf"),
) -> float:
    """Ask at most ``rate`` times a second; how many answers a second there were."""
    started = time.monotonic()
    turns = itertools.count()
    done = 0

    async def client() -> None:
        nonlocal done
        connection = await Connection.open(port)
        while time.monotonic() < started + seconds:
            turn = next(turns)
            await asyncio.sleep(max(0.0, started + turn / rate - time.monotonic()))
            which = turn % len(asks)
            response = await connection.ask(asks[which].request)
            world.assert_same(response, asks[which], rows[which])
            done += 1
        connection.close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return done / (time.monotonic() - started)
