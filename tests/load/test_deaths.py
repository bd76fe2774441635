"""Three deaths of one of several processes: killed, its engine hangs, stopped altogether.

Nobody but the requests inside it notices: the others take its connections, and it is replaced.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from spikeserve.models.encoding import Pixels
from spikeserve.models.exits import ExitPolicy
from tests.load.answers import Ask, World
from tests.load.clients import LOST, Response, ask, get
from tests.load.engines import UNLUCKY
from tests.load.servers import Service, served
from tests.load.test_kill import serving_processes, slots
from tests.processes import PATIENCE_SECONDS, wait_until

STUCK = "tests.load.stuck_service"
FLAGS = ("--engine", "reference", "--slots", "4", "--step-timeout-seconds", "1")
CLIENTS = 4
"""Of each kind. Whoever dies has at most all of their requests inside."""
PAUSE_S = 0.01
Outcomes = Counter[tuple[str, str]]


class Witnesses:
    """Clients on fresh connections, half of them probes, each with one request at a time."""

    def __init__(self, world: World, port: int) -> None:
        self._port = port
        self._world = world
        self._asks = [Ask(lucky(one.image), one.policy) for one in world.asks(CLIENTS)]
        self._rows = world.alone(self._asks)
        self.outcomes = Outcomes()
        self.present = True

    async def watch(self) -> None:
        await asyncio.gather(
            *(self._probe() for _ in range(CLIENTS)),
            *(self._classify(number) for number in range(CLIENTS)),
        )

    async def _probe(self) -> None:
        while self.present:
            await self._outcome("probe", get("/livez"))

    async def _classify(self, number: int) -> None:
        wanted, row = self._asks[number], self._rows[number]
        while self.present:
            response = await self._outcome("image", wanted.request)
            if response and response.status == 200:
                self._world.assert_same(response, wanted, row)

    async def _outcome(self, kind: str, request: bytes) -> Response | None:
        response, outcome = None, "lost"
        try:
            response = await asyncio.wait_for(ask(self._port, request), PATIENCE_SECONDS)
            outcome = str(response.status)
        except ConnectionRefusedError:
            outcome = "refused"
        except LOST:
            pass
        self.outcomes[kind, outcome] += 1
        await asyncio.sleep(PAUSE_S)
        return response


def lucky(image: Pixels) -> Pixels:
    image = image.copy()
    image[0, 0, 0] = UNLUCKY + 1
    return image


def killed(service: Service, _: World) -> None:
    os.kill(serving_processes(service)[0], signal.SIGKILL)


def hung(service: Service, world: World) -> None:
    image = lucky(world.images[0])
    image[0, 0, 0] = UNLUCKY
    poison = Ask(image, ExitPolicy(0.0, 4, 4))
    assert asyncio.run(ask(service.port, poison.request)).status == 500


def stopped(service: Service, _: World) -> None:
    os.kill(serving_processes(service)[0], signal.SIGSTOP)


async def witnessed(witnesses: Witnesses, death: Callable[[], None]) -> None:
    watching = asyncio.create_task(witnesses.watch())
    try:
        await asyncio.to_thread(death)
    finally:
        witnesses.present = False
        await watching


@pytest.mark.parametrize(
    ("death", "processes"),
    [
        (killed, 2),
        pytest.param(hung, 2, marks=pytest.mark.verify),
        pytest.param(stopped, 2, marks=pytest.mark.verify),
        pytest.param(killed, 4, marks=pytest.mark.verify),
        pytest.param(hung, 4, marks=pytest.mark.verify),
        pytest.param(stopped, 4, marks=pytest.mark.verify),
    ],
)
def test_only_the_requests_inside_a_dying_process_notice(
    tiny: World,
    tmp_path: Path,
    death: Callable[[Service, World], None],
    processes: int,
) -> None:
    flags = (*FLAGS, "--workers", str(processes))
    with served(tiny.folder, tmp_path, *flags, module=STUCK) as service:
        wait_until(lambda: complete(service, processes), "the processes never served")
        before = alive(service)

        def die_and_be_replaced() -> None:
            death(service, tiny)
            wait_until(
                lambda: alive(service) != before and complete(service, processes),
                "nobody was replaced",
            )

        witnesses = Witnesses(tiny, service.port)
        asyncio.run(witnessed(witnesses, die_and_be_replaced))
        assert len(before & alive(service)) == processes - 1
    outcomes = witnesses.outcomes
    print(f"\n{death.__name__}, one of {processes}: {dict(outcomes)}")
    lost = sum(count for (_, outcome), count in outcomes.items() if outcome == "lost")
    assert lost <= (0 if death is hung else 2 * CLIENTS)
    assert not any(outcome == "refused" for _, outcome in outcomes)
    assert outcomes["probe", "200"] > CLIENTS
    assert outcomes["image", "200"] > CLIENTS
    unwell = {"500", "503"} if death is hung else set()
    assert {outcome for _, outcome in outcomes} <= {"200", "lost"} | unwell


def alive(service: Service) -> set[int]:
    return set(serving_processes(service))


def complete(service: Service, processes: int) -> bool:
    """So many are there, and all of them serve."""
    try:
        serve = service.series().total("spikeserve_ready") == 1  # the least of all
        return serve and slots(service) == 4 * processes and len(alive(service)) == processes
    except httpx.TransportError:  # it was one of those that are gone
        return False
