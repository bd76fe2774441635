"""``GET /v1/status``: the numbers of ``/metrics``, for people and pages that read JSON."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families as parse

from spikeserve.service.app import create_app
from spikeserve.service.errors import REJECTIONS
from spikeserve.service.keys import key_hash
from spikeserve.service.metrics import ENDPOINTS, REQUEST_SECONDS, STOP_REASONS, Metrics
from spikeserve.service.settings import Settings
from spikeserve.service.status import status_of
from tests.load.servers import Series, served
from tests.processes import wait_until
from tests.programs import random_network, random_program, save_tiny_bundle, tiny_manifest


@pytest.fixture
def fresh(bundle_folder: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(bundles=(bundle_folder,), slots=2))) as client:
        yield client


def status(client: TestClient | httpx.Client) -> Any:
    answer = client.get("/v1/status")
    assert answer.status_code == 200, answer.text
    return answer.json()


def asked(client: TestClient | httpx.Client, png: bytes) -> list[Any]:
    """Some requests of every kind, a few of them refused; the answers."""
    for refused in ("?top_k=0", "?model=nobody"):
        client.post(f"/classify{refused}", content=png)
    client.post("/classify", content=b"text")
    client.post("/classify/stream", content=png)
    return [
        client.post(f"/classify?entropy_threshold={threshold}", content=png).json()
        for threshold in (0, 0, 1, 0.5)
    ]


def agrees(told: Any, series: Series) -> None:
    """What the status tells is what metrics tell."""

    def at_endpoints(name: str, **labels: str) -> float:
        return sum(series.total(f"spikeserve_{name}", endpoint=e, **labels) for e in ENDPOINTS)

    assert told["requests"]
    for code, count in told["requests"].items():
        assert count == at_endpoints("requests_total", code=code)
    assert sum(told["requests"].values()) == at_endpoints("requests_total")
    assert set(told["refused"]) == set(REJECTIONS)
    for reason, count in told["refused"].items():
        assert count == series.total("spikeserve_requests_rejected_total", reason=reason)
    latency = told["latency_seconds"]
    assert latency["bounds"] == list(REQUEST_SECONDS)
    bounds = [*(str(float(bound)) for bound in REQUEST_SECONDS), "+Inf"]
    counts = [at_endpoints("request_duration_seconds_bucket", le=bound) for bound in bounds]
    assert latency["counts"] == counts
    assert told["connections"] == series.total("spikeserve_connections")
    for model in told["models"]:
        labels = {"model": model["name"], "version": model["version"]}

        def total(name: str, labels: dict[str, str] = labels, **more: str) -> float:
            return series.total(f"spikeserve_{name}", **labels, **more)

        assert model["inferences"] == total("inference_timesteps_count") == sum(model["exits"])
        assert model["timesteps_used"] == total("inference_timesteps_sum")
        up_to = [total("inference_timesteps_bucket", le=f"{b}.0") for b in model["exit_bounds"]]
        assert model["exits"] == [b - a for a, b in pairwise((0, *up_to))]
        assert set(model["stop_reasons"]) == set(STOP_REASONS)
        for reason, count in model["stop_reasons"].items():
            assert count == total("inferences_total", stop_reason=reason)
        assert model["energy_joules"] == pytest.approx(total("energy_joules_total"))
        assert model["energy_static_joules"] == pytest.approx(total("energy_baseline_joules_total"))
        for name in ("running", "queued", "cancelled"):
            suffix = "_total" if name == "cancelled" else ""
            assert model[name] == total(f"requests_{name}{suffix}")
        for name in ("slots", "pending_timesteps", "queue_capacity_timesteps"):
            assert model[name] == total(name)


def test_it_tells_what_metrics_tell(fresh: TestClient, png: bytes) -> None:
    before = status(fresh)
    answers = asked(fresh, png)
    told = status(fresh)
    agrees(told, Series(parse(fresh.get("/metrics").text)))
    assert told["requests"]["200"] - before["requests"]["200"] == 5
    assert told["requests"]["422"] == told["requests"]["404"] == told["requests"]["415"] == 1
    assert told["time"] >= before["time"]
    (model,) = told["models"]
    assert model["inferences"] == 5  # the stream included
    assert model["timesteps"] == len(model["exits"]) == 4
    assert model["exit_bounds"] == [1, 2, 3, 4]
    used = [answer["timesteps_used"] for answer in answers]
    for t in range(1, 5):
        assert model["exits"][t - 1] >= used.count(t)
    assert model["exits"][3] >= 2
    assert 0 < model["energy_joules"] < model["energy_static_joules"]


def test_every_number_is_there_before_the_first_request(fresh: TestClient) -> None:
    """A reader computes rates, of errors too: what appears with its first one has none."""
    told = status(fresh)
    assert told["ready"] is True
    for code in ("200", "429", "499", "500", "503", "504"):
        assert told["requests"][code] == 0
    assert set(told["latency_seconds"]["counts"]) == {0}
    (model,) = told["models"]
    assert model["inferences"] == model["timesteps_used"] == model["energy_joules"] == 0
    assert (model["running"], model["queued"], model["slots"]) == (0, 0, 2)


def test_models_stand_in_order_each_with_its_own(
    bundle_folder: Path, tmp_path: Path, png: bytes
) -> None:
    other = save_tiny_bundle(tmp_path / "other", "other", 1)
    with TestClient(create_app(Settings(bundles=(other, bundle_folder), slots=2))) as client:
        client.post("/classify?model=tiny", content=png)
        told = status(client)
        agrees(told, Series(parse(client.get("/metrics").text)))
        assert [(m["name"], m["inferences"]) for m in told["models"]] == [("other", 0), ("tiny", 1)]
        client.get("/livez")
        assert sum(told["requests"].values()) == sum(status(client)["requests"].values()) == 1


def test_exits_beyond_sixteen_timesteps_are_counted_together() -> None:
    manifest = tiny_manifest(random_program(random_network(), 0), timesteps=64)
    metrics = Metrics()
    histogram = metrics.inference_timesteps.labels("tiny", "1", timesteps=64)
    for used in (1, 1, 17, 24, 25, 64):
        histogram.observe(used)
    (model,) = status_of(metrics, [manifest], ready=False).models
    found = dict(zip(model.exit_bounds, model.exits, strict=True))
    assert {bound: count for bound, count in found.items() if count} == {1: 2, 24: 2, 32: 1, 64: 1}
    assert model.exit_bounds[:16] == list(range(1, 17))
    assert (model.inferences, model.timesteps_used) == (6, 132)


def test_it_is_open_and_documented(bundle_folder: Path) -> None:
    settings = Settings(bundles=(bundle_folder,), slots=2, api_key_hashes=(key_hash("k"),))
    client = TestClient(create_app(settings))
    assert status(client)["ready"] is False  # its lifespan has not begun
    with client:
        assert status(client)["ready"] is True
        assert client.get("/v1/status?a=b").status_code == 422
        operation = client.get("/openapi.json").json()["paths"]["/v1/status"]["get"]
        assert "security" not in operation
        assert set(operation["responses"]) == {"200", "422"}


def test_several_processes_add_up(bundle_folder: Path, tmp_path: Path, png: bytes) -> None:
    flags = ("--engine", "reference", "--slots", "4", "--workers", "2")
    with served(bundle_folder, tmp_path, *flags) as service:
        wait_until(lambda: status(service.client)["models"][0]["slots"] == 8, "no two processes")
        base = service.client.base_url
        for _ in range(4):  # connections of their own are shared out
            with httpx.Client(base_url=base, trust_env=False) as client:
                asked(client, png)

        def quiet() -> bool:
            told = status(service.client)
            return (told["connections"], told["models"][0]["running"]) == (1, 0)

        wait_until(quiet, "it never came to rest")
        told = status(service.client)
        agrees(told, service.series())
        assert told["models"][0]["inferences"] == 20
