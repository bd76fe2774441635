"""Photographs under load: decoding is where a service for small networks spends its time."""

from __future__ import annotations

import asyncio
import random
import signal
import statistics
from collections import Counter
from pathlib import Path

import pytest

from tests.load.answers import World, assert_rules
from tests.load.clients import LOST, Connection, Response, ask, connected, get
from tests.load.photographs import Upload, uploads
from tests.load.servers import Service, counted, served
from tests.processes import PATIENCE_SECONDS, wait_until

MIB = 1 << 20
SMALL = ((800, 600), (1200, 900))
CAMERA = ((1632, 1224), (2592, 1944), (4000, 3000))
CLIENTS = 24
DEADLINE_MS = 200
RETRY_S = 0.02
MAX_BODY = 24 * MIB  # a PNG of 12 megapixels
MAX_UPLOADS = 96 * MIB
MAX_DECODES = 384 * MIB
TRANSIENT = 3 * MAX_BODY + 48 * MIB
"""One body in the act of being joined or taken apart; connections, answers, rows, heaps."""
KEPT = 64 * MIB
FLAGS = (
    *("--max-body-bytes", str(MAX_BODY), "--max-total-upload-bytes", str(MAX_UPLOADS)),
    *("--max-decode-bytes", str(MAX_DECODES), "--decode-queue-seconds", "1"),
    *("--drain-seconds", "0"),
)
HELD = (
    "requests_running", "requests_queued", "requests_inside", "uploads", "upload_bytes",
    "decodes_queued", "decode_bytes",
)  # fmt: skip


class Crowd:
    """Clients of which some leave, some have a deadline, and all others stay until answered."""

    def __init__(self, world: World, port: int, files: list[Upload]) -> None:
        self._world = world
        self._port = port
        self._files = files
        self.statuses: Counter[int] = Counter()
        self.behind: list[float] = []
        """By how many seconds each 504 came after its deadline."""
        self.probes: list[float] = []
        self.left = 0

    async def run(self, turns: int) -> None:
        probing = asyncio.create_task(self._probe())
        await asyncio.gather(*(self._client(number, turns) for number in range(CLIENTS)))
        probing.cancel()

    async def _client(self, number: int, turns: int) -> None:
        rng = random.Random(number)
        for _ in range(turns):
            file = rng.choice(self._files)
            match rng.randrange(5):
                case 0:
                    await self._leave(file, rng.uniform(0, 0.3))
                case 1:
                    await self._hurry(file)
                case _:
                    await self._stay(file)

    async def _leave(self, file: Upload, after: float) -> None:
        connection = await Connection.open(self._port)
        connection.send(file.request)
        await asyncio.sleep(after)
        connection.abort()
        self.left += 1

    async def _hurry(self, file: Upload) -> None:
        response = await ask(self._port, file.asking(f"&deadline_ms={DEADLINE_MS}"))
        self.statuses[response.status] += 1
        if response.status == 504:
            behind = response.seconds - DEADLINE_MS / 1000
            assert behind >= 0, "refused before its deadline"
            self.behind.append(behind)
        elif response.status == 200 and response.json()["stop_reason"] == "deadline":
            assert file.ask
            assert_rules(response.json(), file.ask)
        else:
            self._judge(file, response)

    async def _stay(self, file: Upload) -> None:
        while True:
            response = await ask(self._port, file.request)
            self.statuses[response.status] += 1
            if response.status != 429 or file.status == 429:
                return self._judge(file, response)
            assert int(response.headers["retry-after"]) >= 1
            await asyncio.sleep(RETRY_S)

    def _judge(self, file: Upload, response: Response) -> None:
        """The file's own answer, or none because there is no room."""
        if response.status == 429:
            return
        assert response.status == file.status, (file.name, response.body)
        if file.ask and file.row:
            self._world.assert_same(response, file.ask, file.row)

    async def _probe(self) -> None:
        async with connected(self._port) as connection:
            while True:
                response = await connection.ask(get("/livez"))
                assert response.status == 200
                self.probes.append(response.seconds)
                await asyncio.sleep(0.02)


def memory(service: Service, name: str) -> int:
    """What the operating system says, in bytes: VmRSS is now, VmHWM the most there was."""
    for line in Path(f"/proc/{service.process.pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(name)


def empty(service: Service) -> bool:
    series = service.series()
    return not any(series.total(f"spikeserve_{name}") for name in HELD)


@pytest.mark.parametrize(
    ("world", "sizes", "turns", "longest_behind_s"),
    [
        ("tiny", SMALL, 2, None),
        pytest.param("tiny", CAMERA, 6, 0.25, marks=pytest.mark.verify),
    ],
    indirect=["world"],
)
def test_photographs_under_load_and_at_the_end(
    world: World,
    tmp_path: Path,
    sizes: tuple[tuple[int, int], ...],
    turns: int,
    longest_behind_s: float | None,
) -> None:
    files, counters = uploads(world, sizes), tmp_path / "counters"
    with served(world.folder, tmp_path, *FLAGS, counters=counters) as service:
        Path(f"/proc/{service.process.pid}/clear_refs").write_text("5")  # VmHWM starts anew
        resting = memory(service, "VmRSS")
        crowd = Crowd(world, service.port, files)
        asyncio.run(crowd.run(turns))
        wait_until(lambda: empty(service), "something of clients that left stayed")
        most = memory(service, "VmHWM")
        wait_until(lambda: memory(service, "VmRSS") <= resting + KEPT, "memory stayed")
        after = memory(service, "VmRSS")
        last = [file for file in files if file.name.endswith(" PNG")][-1]
        ends = asyncio.run(terminated(service, last))
    books = counted(counters)
    left = books.total("spikeserve_requests_cancelled_total", phase="decoding")
    bound = MAX_UPLOADS + MAX_DECODES + TRANSIENT
    late = [1000 * seconds for seconds in crowd.behind] or [0.0]
    print(
        f"\n{len(files)} files of {', '.join(f'{w} x {h}' for w, h in sizes)} and hostile ones, "
        f"{CLIENTS} clients: {dict(crowd.statuses)}, 0 swapped, 0 lost; {crowd.left} left, "
        f"{left:.0f} of them a decode; {len(crowd.behind)} deadlines of {DEADLINE_MS} ms answered "
        f"{statistics.median(late):.1f} ms behind (most {max(late):.1f}); resident memory "
        f"{resting / MIB:.0f} MiB at rest, {most / MIB:.0f} at most ({bound / MIB:.0f} more "
        f"allowed), {after / MIB:.0f} afterwards; /livez after "
        f"{1000 * statistics.median(crowd.probes):.1f} ms, at most {1000 * max(crowd.probes):.0f}; "
        f"SIGTERM while {last.name} are decoded: {dict(ends)}"
    )
    assert set(crowd.statuses) <= {200, 415, 422, 429, 504}
    assert crowd.statuses[200]
    assert most <= resting + bound
    assert set(ends) <= {200, 429, 503, "closed unread"}
    assert ends[503]
    assert not books.total("spikeserve_requests_total", code="500")
    if longest_behind_s is not None:
        assert left
        assert crowd.behind
        assert statistics.median(crowd.behind) < longest_behind_s


async def terminated(service: Service, file: Upload) -> Counter[int | str]:
    """SIGTERM while pictures are decoded, and no time is left to finish them."""

    async def one() -> int | str:
        try:
            return (await ask(service.port, file.request)).status
        except LOST:
            return "closed unread"

    asked = [asyncio.create_task(one()) for _ in range(CLIENTS)]
    while not service.series().total("spikeserve_decode_bytes"):
        await asyncio.sleep(0.001)
    service.process.send_signal(signal.SIGTERM)
    ends = Counter(await asyncio.gather(*asked))
    assert service.process.wait(PATIENCE_SECONDS) == 0
    return ends
