"""A storm of deadlines: kept to within a timestep, and never a reason to stop anybody else."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spikeserve.models.inference import Row
from tests.load.answers import Ask, World, assert_rules
from tests.load.clients import Connection, Response
from tests.load.servers import served

CLIENTS = 3
TOLERANCE_S = 0.005


@pytest.mark.parametrize(
    ("world", "engine", "slots", "count", "longest_ms", "measured"),
    [
        ("tiny", "reference", 4, 600, 4.0, False),
        pytest.param("shipped", "event", 4, 6000, 4.0, True, marks=pytest.mark.verify),
        pytest.param("shipped", "onnx", 1, 2000, 40.0, True, marks=pytest.mark.verify),
    ],
    indirect=["world"],
)
def test_deadlines_are_kept_and_touch_nobody_else(
    world: World,
    tmp_path: Path,
    engine: str,
    slots: int,
    count: int,
    longest_ms: float,
    measured: bool,
) -> None:
    asks = with_deadlines(world.asks(count), longest_ms)
    # One thread, so that the clients' own work does not stretch timesteps.
    flags = ("--engine", engine, "--slots", str(slots), "--engine-threads", "1")
    with served(world.folder, tmp_path, *flags) as service:
        responses = asyncio.run(storm(service.port, asks))
        series = service.series()
    reasons, late = judged(world, asks, world.alone(asks), responses)
    step = "spikeserve_step_duration_seconds"
    step_s = series.total(f"{step}_sum") / series.total(f"{step}_count")
    p99 = float(np.quantile(late, 0.99))
    print(
        f"\n{count} requests, {dict(reasons)}; answers that met their deadline: "
        f"median {1000 * np.median(late):.1f} ms, p99 {1000 * p99:.1f} ms behind it "
        f"(a timestep takes {1000 * step_s:.1f} ms)"
    )
    assert {"entropy", "max_timesteps", "deadline", "504"} <= set(reasons)
    if measured:
        assert p99 <= step_s + TOLERANCE_S


def with_deadlines(asks: Sequence[Ask], longest_ms: float) -> list[Ask]:
    """Four of five with a deadline, half of these with an error at it."""
    rng = np.random.default_rng(4)
    return [
        ask
        if rng.random() < 0.2
        else replace(
            ask,
            deadline_ms=float(rng.uniform(0.05, longest_ms)),
            on_deadline="best" if rng.random() < 0.5 else "error",
        )
        for ask in asks
    ]


async def storm(port: int, asks: Sequence[Ask]) -> list[Response]:
    """A few clients, so that the service is below saturation."""
    requests = [ask.request for ask in asks]  # encoded before anybody's time runs
    responses: dict[int, Response] = {}

    async def client(first: int) -> None:
        connection = await Connection.open(port)
        for number in range(first, len(asks), CLIENTS):
            responses[number] = await connection.ask(requests[number])
        connection.close()

    await asyncio.gather(*(client(first) for first in range(CLIENTS)))
    return [responses[number] for number in range(len(asks))]


def judged(
    world: World, asks: Sequence[Ask], rows: Sequence[Row], responses: Sequence[Response]
) -> tuple[Counter[str], list[float]]:
    """Why each ended, and by how many seconds the deadline's answers came after it."""
    reasons: Counter[str] = Counter()
    late: list[float] = []
    for ask, row, response in zip(asks, rows, responses, strict=True):
        behind = response.seconds - (ask.deadline_ms or 0) / 1000
        if response.status == 504:
            assert ask.deadline_ms is not None
            assert behind >= 0, "refused before its deadline"
            reasons["504"] += 1
            late.append(behind)
            continue
        assert response.status == 200, response.body
        answer = response.json()
        reasons[answer["stop_reason"]] += 1
        if answer["stop_reason"] == "deadline":
            assert_rules(answer, ask)
            assert answer["timesteps_used"] < row.t, "it was done, and said it was not"
            assert answer["entropy"] == row.entropies[answer["timesteps_used"] - 1]
            late.append(behind)
        else:
            world.assert_same(response, ask, row)
    return reasons, late
