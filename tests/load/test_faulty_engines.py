"""Engines that fail on some rows, on all, or hang: who is told, and who does not notice."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import numpy as np
import pytest

from spikeserve.models.exits import ExitPolicy
from spikeserve.service.isolation import FAILURES_UNTIL_BROKEN
from tests.conftest import encoded
from tests.load.answers import Ask, World
from tests.load.clients import Response
from tests.load.engines import (
    UNLUCKY,
    Broken,
    Faulty,
    Hanging,
    NotANumber,
    Raising,
    serving,
)
from tests.load.servers import Series
from tests.processes import wait_until

STEP_TIMEOUT_S = 0.5


@pytest.mark.parametrize("engine", [Raising, NotANumber])
@pytest.mark.parametrize("clients", [16, pytest.param(64, marks=pytest.mark.verify)])
def test_a_row_that_fails_fails_alone(tiny: World, engine: type[Faulty], clients: int) -> None:
    rng = np.random.default_rng(6)
    asks = []
    for wanted in tiny.asks(12 * clients):
        image = wanted.image.copy()
        image[0, 0, 0] = UNLUCKY if rng.random() < 0.1 else UNLUCKY + 1
        asks.append(Ask(image, wanted.policy))
    rows = tiny.alone(asks)
    failed = 0
    with serving(tiny.folder, engine, slots=8) as (client, app, _):
        with ThreadPoolExecutor(clients) as pool:
            responses = list(pool.map(lambda ask: classify(client, ask), asks))
        for ask, row, response in zip(asks, rows, responses, strict=True):
            if ask.image[0, 0, 0] == UNLUCKY:
                failed += 1
                assert response.status == 500, response.body
                assert response.headers["content-type"] == "application/problem+json"
            else:
                tiny.assert_same(response, ask, row)
        assert client.get("/livez").status_code == 200
        series = Series(app.state.metrics.registry.collect())
        assert series.total("spikeserve_inferences_total", stop_reason="error") == failed > 0
        shared = series.total("spikeserve_batch_rows_count") - series.total(
            "spikeserve_batch_rows_bucket", le="1.0"
        )
        print(f"\n{engine.__name__}: {failed} rows failed, {len(asks) - failed} neighbours exact")
        assert shared > 0, "rows never shared a batch: this run proved nothing"


def test_an_engine_that_always_fails_is_reported_to_the_orchestrator(tiny: World) -> None:
    (ask,) = tiny.asks(1)
    with serving(tiny.folder, Broken, slots=4) as (client, _, _):
        for _ in range(FAILURES_UNTIL_BROKEN):
            assert classify(client, ask).status == 500
        for probe in ("/livez", "/readyz"):
            assert client.get(probe).status_code == 503
        assert client.get("/metrics").status_code == 200


def test_an_engine_that_hangs_keeps_nobody_waiting(tiny: World) -> None:
    ask = Ask(tiny.images[0], ExitPolicy(0.0, 4, 4))
    settings = {"slots": 2, "step_timeout_seconds": STEP_TIMEOUT_S, "drain_seconds": 0}
    with (
        serving(tiny.folder, Hanging, **settings) as (client, app, engine),
        ThreadPoolExecutor(8) as pool,
    ):
        assert isinstance(engine, Hanging)
        waiting = [pool.submit(classify, client, ask) for _ in range(8)]
        assert engine.entered.wait(60)
        hung = time.monotonic()
        wait_until(lambda: client.get("/livez").status_code == 503, "nobody saw the engine hang")
        seconds = time.monotonic() - hung
        assert client.get("/readyz").status_code == 503
        assert client.get("/metrics").status_code == 200
        statuses = [future.result(60).status for future in waiting]
        assert statuses == [500] * len(waiting)
        assert classify(client, ask).status == 503
        assert app.state.admission.inside == 0
        engine.released.set()
        print(f"\na hang seen {seconds:.2f} s after it began, with a limit of {STEP_TIMEOUT_S} s")


def classify(client: httpx2.Client, ask: Ask) -> Response:
    response = client.post(f"/classify{ask.query}", content=encoded(ask.image))
    return Response(response.status_code, dict(response.headers), response.content, 0.0)
