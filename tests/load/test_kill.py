"""SIGKILL: clients that try again lose nothing, and the port comes back."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from spikeserve.service.processes.child import QUICK_DEATH_S
from tests.load.answers import World
from tests.load.clients import LOST, Connection, ask, connected
from tests.load.servers import Service, served
from tests.processes import wait_until

CLIENTS = 8
RETRY_S = 0.02
SMALL = ("--engine", "reference", "--slots", "4")


def test_killed_and_restarted_on_the_same_port(tiny: World, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        with served(tiny.folder, tmp_path, *SMALL) as service:
            port = service.port
            retries = pool.submit(asyncio.run, persistent_clients(tiny, port, each=80))
            wait_until(lambda: answers(service) > CLIENTS, "nobody was answered")
            service.kill()
        killed = time.monotonic()
        with served(tiny.folder, tmp_path, *SMALL, port=port):
            seconds = time.monotonic() - killed
            print(
                f"\nkilled, ready on the same port after {seconds:.1f} s; "
                f"{CLIENTS} clients lost nothing in {retries.result(60)} retries"
            )
    assert retries.result() > 0, "nobody noticed: this run proved nothing"


@pytest.mark.verify
def test_one_of_two_processes_killed(tiny: World, tmp_path: Path) -> None:
    with (
        ThreadPoolExecutor(1) as pool,
        served(tiny.folder, tmp_path, *SMALL, "--workers", "2") as service,
    ):
        wait_until(lambda: slots(service) == 8, "two processes never served")
        first = serving_processes(service)
        assert len(first) == 2
        before = answers(service)
        asyncio.run(fresh_connections(tiny, service.port, 40))
        assert answers(service) == before + 40
        time.sleep(QUICK_DEATH_S)  # an earlier end would look like one that can never start
        retries = pool.submit(asyncio.run, persistent_clients(tiny, service.port, each=400))
        wait_until(lambda: answers(service) > before + 80, "nobody was answered")
        os.kill(first[0], signal.SIGKILL)
        lost = retries.result(60)
        wait_until(lambda: slots(service) == 8, "the killed process never came back")
        assert first[1] in (second := serving_processes(service))
        assert len(second) == 2
        before = answers(service)
        asyncio.run(fresh_connections(tiny, service.port, 40))
        assert answers(service) == before + 40
        print(f"\none of two processes killed: {CLIENTS} clients lost nothing in {lost} retries")


@pytest.mark.verify
def test_a_signal_to_the_whole_group_drains_too(tiny: World, tmp_path: Path) -> None:
    """As Ctrl-C and service managers send it: every process gets it, and from its supervisor."""
    (wanted,) = tiny.asks(1)
    (row,) = tiny.alone([wanted])

    async def in_the_middle(service: Service) -> None:
        async with connected(service.port) as connection:
            connection.send(wanted.request[:-10])
            await asyncio.sleep(0.3)
            for pid in (service.process.pid, *serving_processes(service)):
                os.kill(pid, signal.SIGTERM)
            await asyncio.sleep(0.6)  # the supervisor has passed it on by now
            connection.send(wanted.request[-10:])
            tiny.assert_same(await connection.response(time.perf_counter()), wanted, row)

    with served(tiny.folder, tmp_path, *SMALL, "--workers", "2") as service:
        wait_until(lambda: slots(service) == 8, "two processes never served")
        asyncio.run(in_the_middle(service))
        assert service.process.wait(10) == 0


def answers(service: Service) -> float:
    return service.series().total("spikeserve_requests_total", endpoint="/classify", code="200")


def slots(service: Service) -> float:
    """Of all processes that live."""
    return service.series().total("spikeserve_slots")


def serving_processes(service: Service) -> list[int]:
    """The supervisor's children but for Python's own resource tracker."""
    children = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            command = (status.parent / "cmdline").read_bytes()
        except OSError:  # it has just ended
            continue
        if parent == service.process.pid and b"spawn_main" in command:
            children.append(int(status.parent.name))
    return children


async def fresh_connections(world: World, port: int, count: int) -> None:
    """One request each, so that the kernel shares them out."""
    asks = world.asks(count)
    for wanted, row in zip(asks, world.alone(asks), strict=True):
        world.assert_same(await ask(port, wanted.request), wanted, row)


async def persistent_clients(world: World, port: int, each: int) -> int:
    """Everybody gets everything answered, asking again where need be; how often that was."""
    return sum(
        await asyncio.gather(*(persistent(world, port, each, seed) for seed in range(CLIENTS)))
    )


async def persistent(world: World, port: int, count: int, seed: int) -> int:
    asks = world.asks(count, seed)
    retries, connection = 0, None
    for wanted, row in zip(asks, world.alone(asks), strict=True):
        while True:
            try:
                connection = connection or await Connection.open(port)
                response = await connection.ask(wanted.request)
            except LOST:
                connection = None
            else:
                if response.status != 503:
                    break
            retries += 1
            await asyncio.sleep(RETRY_S)
        world.assert_same(response, wanted, row)
    if connection:
        connection.close()
    return retries
