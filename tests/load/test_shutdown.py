"""SIGTERM under load: an admitted request is always answered."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from spikeserve.service.metrics import CODES
from tests.load.answers import World
from tests.load.clients import LOST, Connection, ask, connected, get
from tests.load.servers import Service, counted, served
from tests.processes import PATIENCE_SECONDS

CLIENTS = 24
REFUSED = (429, 503)
RETRY_S = 0.02
UNENDING = ("--drain-seconds", "600", "--body-timeout-seconds", "600")
"""A drain that waited for its requests would outlast ``PATIENCE_SECONDS``."""
SMALL = ("--engine", "reference", "--slots", "4", "--queue-timesteps", "32")


class Crowd:
    """Clients that ask again and again, on kept and on fresh connections."""

    def __init__(self, world: World, port: int) -> None:
        self._world = world
        self._port = port
        self._asks = world.asks(CLIENTS)
        self._rows = world.alone(self._asks)
        self.statuses: Counter[int] = Counter()
        self.unanswered = 0
        """Requests whose connection ended before an answer began."""

    async def ask_until_gone(self) -> None:
        """Everybody asks until the service is not there any more."""
        await asyncio.gather(*(self._one(number) for number in range(CLIENTS)))

    async def _one(self, number: int) -> None:
        wanted, row = self._asks[number], self._rows[number]
        fresh = number % 2 == 0
        connection: Connection | None = None
        while True:
            try:
                connection = connection or await Connection.open(self._port)
            except OSError:
                return  # the port is closed
            try:
                response = await connection.ask(wanted.request)
            except LOST:
                self.unanswered += 1
                connection = None
                continue
            self.statuses[response.status] += 1
            if response.status == 200:
                self._world.assert_same(response, wanted, row)
            else:
                assert response.status in REFUSED, response.body
                await asyncio.sleep(RETRY_S)
            if fresh or response.headers.get("connection") == "close":
                connection.close()
                connection = None


async def terminated(service: Service, crowd: Crowd, after: float) -> None:
    asking = asyncio.create_task(crowd.ask_until_gone())
    await asyncio.sleep(after)
    service.process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(asking, PATIENCE_SECONDS)


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.verify)])
def test_sigterm_under_load_loses_no_admitted_request(
    tiny: World, tmp_path: Path, times: int
) -> None:
    """The service's own books, which outlive it, agree with what the clients got."""
    statuses: Counter[int] = Counter()
    unanswered = 0
    for turn in range(times):
        counters = tmp_path / f"counters{turn}"
        with served(tiny.folder, tmp_path, *SMALL, counters=counters) as service:
            crowd = Crowd(tiny, service.port)

            asyncio.run(terminated(service, crowd, after=random.Random(turn).uniform(0.1, 0.5)))
            assert service.process.wait(PATIENCE_SECONDS) == 0
        books = counted(counters)
        admitted = books.total("spikeserve_decode_duration_seconds_count")
        finished = sum(
            books.total("spikeserve_inferences_total", stop_reason=reason)
            for reason in ("entropy", "max_timesteps")
        )
        answered = {
            int(code): books.total("spikeserve_requests_total", endpoint="/classify", code=code)
            for code in CODES
        }
        assert admitted == finished == answered[200]
        # Whatever the service began to answer has arrived; nothing else was begun.
        assert {code: count for code, count in answered.items() if count} == crowd.statuses
        statuses += crowd.statuses
        unanswered += crowd.unanswered
    print(
        f"\n{times} times SIGTERM: {statuses[200]} answers, {statuses[429]} + {statuses[503]} "
        f"refusals, {unanswered} connections closed before the service read them, "
        "0 admitted requests lost"
    )


def test_unready_at_once_but_serving_while_balancers_look_away(tiny: World, tmp_path: Path) -> None:
    (wanted,) = tiny.asks(1)
    (row,) = tiny.alone([wanted])
    with served(tiny.folder, tmp_path, *SMALL, "--drain-delay-seconds", "3") as service:

        async def look() -> None:
            async with connected(service.port) as half, connected(service.port) as probe:
                half.send(wanted.request[:-1])
                tiny.assert_same(await ask(service.port, wanted.request), wanted, row)
                service.process.send_signal(signal.SIGTERM)
                while (ready := await probe.ask(get("/readyz"))).status == 200:
                    await asyncio.sleep(0.001)
                assert ready.status == 503
                tiny.assert_same(await ask(service.port, wanted.request), wanted, row)
                while (late := await probe.ask(wanted.request)).status == 200:
                    await asyncio.sleep(RETRY_S)
                assert late.status == 503
                assert int(late.headers["retry-after"]) >= 1
                # Whoever was let in has its time to finish.
                tiny.assert_same(await half.ask(wanted.request[-1:]), wanted, row)

        asyncio.run(look())
        assert service.process.wait(PATIENCE_SECONDS) == 0


def test_a_second_sigterm_leaves_at_once(tiny: World, tmp_path: Path) -> None:
    (wanted,) = tiny.asks(1)
    with served(tiny.folder, tmp_path, *SMALL, *UNENDING) as service:

        async def stay_and_insist() -> None:
            async with connected(service.port) as half:
                half.send(wanted.request[:-1])
                await ask(service.port, wanted.request)
                service.process.send_signal(signal.SIGTERM)
                while (await ask(service.port, wanted.request)).status != 503:
                    pass
                assert service.process.poll() is None
                service.process.send_signal(signal.SIGTERM)
                await asyncio.to_thread(service.process.wait, PATIENCE_SECONDS)

        asyncio.run(stay_and_insist())
        assert service.process.returncode == 128 + signal.SIGTERM
