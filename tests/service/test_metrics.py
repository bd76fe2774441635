"""``GET /metrics``: names and labels that dashboards rely on, and numbers that add up."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse

from spikeserve.service.app import create_app
from spikeserve.service.energy_histogram import EnergyHistogram
from spikeserve.service.energy_histogram import buckets_of as energies
from spikeserve.service.errors import QueueFull
from spikeserve.service.settings import Settings
from spikeserve.service.timestep_histogram import TimestepHistogram

# Removing or renaming one of these breaks somebody's dashboard.
MODEL = {"model", "version"}
GOLDEN = {
    "spikeserve_inference_timesteps": MODEL,
    "spikeserve_requests": {"model", "endpoint", "code"},
    "spikeserve_items": {"model", "endpoint", "code"},
    "spikeserve_request_duration_seconds": {"model", "endpoint"},
    "spikeserve_inferences": MODEL | {"stop_reason"},
    "spikeserve_queue_duration_seconds": MODEL,
    "spikeserve_decode_duration_seconds": MODEL,
    "spikeserve_inference_duration_seconds": MODEL,
    "spikeserve_step_duration_seconds": MODEL,
    "spikeserve_timesteps_executed": MODEL,
    "spikeserve_timesteps_saved": MODEL,
    "spikeserve_slot_steps": MODEL | {"state"},
    "spikeserve_batch_rows": MODEL,
    "spikeserve_exit_entropy": MODEL,
    "spikeserve_requested_entropy_threshold": MODEL,
    "spikeserve_energy_joules": MODEL,
    "spikeserve_energy_baseline_joules": MODEL,
    "spikeserve_request_energy_joules": MODEL,
    "spikeserve_requests_running": MODEL,
    "spikeserve_requests_queued": MODEL,
    "spikeserve_queue_capacity_timesteps": MODEL,
    "spikeserve_pending_timesteps": MODEL,
    "spikeserve_brownout_level": MODEL,
    "spikeserve_brownout_requests": MODEL,
    "spikeserve_requests_cancelled": MODEL | {"phase"},
    "spikeserve_slots": MODEL,
    "spikeserve_requests_rejected": {"reason"},
    "spikeserve_engine_last_step_timestamp_seconds": MODEL,
    "spikeserve_connections": set(),
    "spikeserve_requests_inside": set(),
    "spikeserve_uploads": set(),
    "spikeserve_upload_bytes": set(),
    "spikeserve_decodes_queued": set(),
    "spikeserve_decode_bytes": set(),
    "spikeserve_ready": set(),
    "spikeserve_model_info": {"model", "version", "engine", "encoding"},
    "spikeserve_build_info": {"version"},
}


TINY = {"model": "tiny", "version": "1"}


@pytest.fixture
def fresh(bundle_folder: Path):  # type: ignore[no-untyped-def]
    with TestClient(create_app(Settings(bundles=(bundle_folder,)))) as client:
        yield client


def value(client: TestClient, name: str, **labels: str) -> float:
    for family in parse(client.get("/metrics").text):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    raise AssertionError(f"no {name} {labels}")


def test_golden_names_and_labels_exist_before_the_first_request(fresh: TestClient) -> None:
    families = {family.name: family for family in parse(fresh.get("/metrics").text)}
    for name, labels in GOLDEN.items():
        assert name in families, name
        assert families[name].documentation
        samples = [sample for sample in families[name].samples if "le" not in sample.labels]
        assert samples, name
        assert set(samples[0].labels) == labels, name
    ours = {name for name in families if name.startswith("spikeserve_")}
    assert ours == set(GOLDEN)


def test_average_timesteps_is_sum_over_count(fresh: TestClient, png: bytes) -> None:
    used = [
        fresh.post(f"/classify?entropy_threshold={threshold}", content=png).json()
        for threshold in (0, 1, 1)
    ]
    total = sum(answer["timesteps_used"] for answer in used)
    assert total == 6
    assert value(fresh, "spikeserve_inference_timesteps_sum", **TINY) == total
    assert value(fresh, "spikeserve_inference_timesteps_count", **TINY) == 3
    assert value(fresh, "spikeserve_timesteps_executed_total", **TINY) == total
    assert value(fresh, "spikeserve_timesteps_saved_total", **TINY) == 3 * 4 - total
    for reason, count in (("entropy", 2), ("max_timesteps", 1), ("error", 0)):
        found = value(fresh, "spikeserve_inferences_total", **TINY, stop_reason=reason)
        assert found == count
    joules = sum(answer["energy"]["total_pj"] for answer in used) * 1e-12
    assert value(fresh, "spikeserve_energy_joules_total", **TINY) == pytest.approx(joules)
    code = {"model": "tiny", "endpoint": "/classify", "code": "200"}
    assert value(fresh, "spikeserve_requests_total", **code) == 3


def test_refusals_are_counted_by_reason(fresh: TestClient) -> None:
    fresh.post("/classify", content=b"text")
    fresh.post("/classify?entropy_threshold=7", content=b"text")
    assert value(fresh, "spikeserve_requests_rejected_total", reason="unsupported_media") == 1
    assert value(fresh, "spikeserve_requests_rejected_total", reason="bad_parameter") == 1
    assert value(fresh, "spikeserve_requests_rejected_total", reason="queue_full") == 0


def requests(client: TestClient, endpoint: str, code: str, model: str = "tiny") -> float:
    labels = {"model": model, "endpoint": endpoint, "code": code}
    return value(client, "spikeserve_requests_total", **labels)


INFER = "/v2/models/{name}/infer"


def test_series_of_every_endpoint_are_there_before_anything_fails(fresh: TestClient) -> None:
    """A rate of a series that appears with its first error does not see that error."""
    for endpoint in ("/classify", "/classify/stream", "/classify/batch", INFER):
        for code in ("200", "429", "499", "500", "503", "504"):
            assert requests(fresh, endpoint, code) == 0
    for code in ("200", "422", "429", "500"):
        labels = {"model": "tiny", "endpoint": "/classify/batch", "code": code}
        assert value(fresh, "spikeserve_items_total", **labels) == 0


def test_items_of_a_batch_are_counted_by_what_each_was_answered(
    fresh: TestClient, png: bytes
) -> None:
    image = base64.b64encode(png).decode()
    items: list[dict[str, object]] = [
        {"inputs": image},
        {"inputs": image, "parameters": {"max_timesteps": 99}},
        {"inputs": base64.b64encode(b"text").decode()},
        {"inputs": image, "parameters": {"model": "nobody"}},
    ]
    answer = fresh.post("/classify/batch", json={"items": items})
    assert [item["status"] for item in answer.json()["results"]] == [200, 422, 415, 404]
    for code, model in (("200", "tiny"), ("422", "tiny"), ("415", "tiny"), ("404", "")):
        labels = {"model": model, "endpoint": "/classify/batch", "code": code}
        assert value(fresh, "spikeserve_items_total", **labels) == 1, code
    assert requests(fresh, "/classify/batch", "200") == 1


def test_a_stream_is_counted_by_how_it_ended(
    fresh: TestClient, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = fresh.app.state.registry.get().worker  # type: ignore[attr-defined]

    def fails(*_: object) -> None:
        raise RuntimeError("on purpose")

    with monkeypatch.context() as patch:
        patch.setattr(worker.engine, "step", fails)
        answer = fresh.post("/classify/stream", content=png)
    assert answer.status_code == 200
    assert "event: error" in answer.text
    assert requests(fresh, "/classify/stream", "500") == 1
    assert requests(fresh, "/classify/stream", "200") == 0
    fresh.post("/classify/stream", content=png)
    assert requests(fresh, "/classify/stream", "200") == 1


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/classify", "tiny"),
        ("/classify?model=tiny&version=1", "tiny"),
        ("/classify?model=nobody", ""),
        ("/classify?model=tiny&version=9", ""),
        ("/classify/stream", "tiny"),
        ("/classify/batch?model=tiny", "tiny"),
        ("/v2/models/tiny/infer", "tiny"),
        ("/v2/models/nobody/infer", ""),
    ],
)
def test_whoever_is_refused_before_its_model_is_known_meant_one(
    path: str, model: str, fresh: TestClient, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else refusals vanish from the board as soon as a model is chosen there."""
    admission = fresh.app.state.admission  # type: ignore[attr-defined]
    monkeypatch.setattr(admission, "inside", 10**6)
    body: dict[str, Any] = {"files": [("file", png)]} if "batch" in path else {"content": png}
    assert fresh.post(path, **body).status_code == 429
    endpoint = INFER if "infer" in path else path.partition("?")[0]
    assert requests(fresh, endpoint, "429", model) == 1


def test_a_model_that_only_the_body_names_is_the_one_that_refused(
    fresh: TestClient, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = fresh.app.state.registry  # type: ignore[attr-defined]

    def full(*_: object) -> None:
        raise QueueFull("full")

    monkeypatch.setattr(registry.get().worker, "submit", full)
    document = {"inputs": base64.b64encode(png).decode(), "parameters": {"model": "tiny"}}
    assert fresh.post("/classify?model=nobody", json=document).status_code == 429
    assert requests(fresh, "/classify", "429") == 1


def test_unknown_paths_share_one_series(fresh: TestClient) -> None:
    for path in ("/a", "/b", "/wp-login.php"):
        fresh.get(path)
    assert value(fresh, "spikeserve_requests_total", model="", endpoint="other", code="404") == 3


def test_openmetrics_round_trip(fresh: TestClient, png: bytes) -> None:
    fresh.post("/classify", content=png)
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    response = fresh.get("/metrics", headers=accept)
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert any(
        family.name == "spikeserve_energy_joules"
        for family in parse_openmetrics(response.text)  # type: ignore[no-untyped-call]
    )


@pytest.mark.parametrize(
    ("least", "most", "some", "bounds"),
    [
        (4.4e-6, 43e-6, "4e-06 5e-06 6.3e-06 8e-06 1e-05 1.25e-05", 12),
        (2e-9, 3e-7, "1.6e-09 2.5e-09 4e-09 1e-08 2.5e-07 4e-07", 13),
        (1e-7, 5e-4, "1e-07 2e-07 5e-07 1e-06 2e-06 5e-06 0.0005", 12),
        (5e-6, 5e-6, "5e-06", 1),
        (1e-9, 0.5, "1e-09 1e-05 1.0", 10),
        (0.0, 1e-3, "1e-12 0.001", 10),
        (0.0, 0.0, "1.0", 10),
        (3e-7, 9.9e-6, "2.5e-07 4e-07 6.3e-06 1e-05", 9),
    ],
)
def test_energy_buckets_follow_what_inferences_can_take(
    least: float, most: float, some: str, bounds: int
) -> None:
    found = energies(least, most)
    texts = [repr(bound) for bound in found]
    assert set(some.split()) <= set(texts), texts
    assert len(found) == bounds
    assert all(len(text) <= 8 for text in texts), "decimals, as they are written"
    assert list(found) == sorted(set(found))


def test_energy_buckets_hold_a_models_first_and_last_timestep(
    fresh: TestClient, png: bytes
) -> None:
    joules = [
        fresh.post(f"/classify?entropy_threshold={sure}", content=png).json()["energy"]["total_pj"]
        * 1e-12
        for sure in (0, 1)
    ]
    below = {
        sample.labels["le"]: sample.value
        for family in parse(fresh.get("/metrics").text)
        for sample in family.samples
        if sample.name == "spikeserve_request_energy_joules_bucket"
    }
    assert 4 < len(below) <= 17
    ends = sorted(float(end) for end in below if end != "+Inf")
    assert ends[0] < min(joules) < max(joules) < ends[-1]
    assert below[[end for end in below if end != "+Inf"][-1]] == 2


def test_energy_buckets_of_a_long_and_a_short_model_differ() -> None:
    registry = CollectorRegistry()
    histogram = EnergyHistogram(registry, ("model", "version"))
    histogram.labels("ann-like", "1", joules=(2e-9, 6e-9)).observe(3e-9)
    histogram.labels("events", "1", joules=(1e-8, 1e-4)).observe(5e-5)
    (family,) = registry.collect()
    ends = {
        model: {s.labels.get("le", "+Inf") for s in family.samples if s.labels["model"] == model}
        for model in ("ann-like", "events")
    }
    assert "3.2e-09" in ends["ann-like"]
    assert "0.0001" in ends["events"]
    assert not ends["ann-like"] & ends["events"] - {"+Inf"}


def test_timestep_buckets_follow_each_models_timesteps() -> None:
    registry = CollectorRegistry()
    histogram = TimestepHistogram(registry, ("model", "version"))
    histogram.labels("short", "1", timesteps=4).observe(3)
    histogram.labels("long", "1", timesteps=1000).observe(700)
    histogram.labels("short", "1", timesteps=4).observe(2)  # reloaded: it goes on
    (family,) = registry.collect()
    bounds = {
        model: [
            s.labels["le"]
            for s in family.samples
            if s.labels.get("le") and s.labels["model"] == model
        ]
        for model in ("short", "long")
    }
    assert bounds["short"] == ["1.0", "2.0", "3.0", "4.0", "+Inf"]
    assert bounds["long"][15:] == [
        "16.0", "24.0", "32.0", "48.0", "64.0", "96.0", "128.0", "192.0", "256.0", "384.0",
        "512.0", "768.0", "1000.0", "+Inf",
    ]  # fmt: skip
    counts = [s.value for s in family.samples if s.name.endswith("_count")]
    assert counts == [2, 1]
    histogram.labels("short", "1", timesteps=8).observe(7)  # another network under its name
    (family,) = registry.collect()
    found = {
        s.labels["le"]: s.value
        for s in family.samples
        if s.name.endswith("_bucket") and s.labels["model"] == "short"
    }
    assert (found["6.0"], found["7.0"], found["8.0"]) == (0, 1, 1)
