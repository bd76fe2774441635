"""``GET /metrics``: names and labels that dashboards rely on, and numbers that add up."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse

from spikeserve.service.app import create_app
from spikeserve.service.settings import Settings
from spikeserve.service.timestep_histogram import TimestepHistogram

# Removing or renaming one of these breaks somebody's dashboard.
MODEL = {"model", "version"}
GOLDEN = {
    "spikeserve_inference_timesteps": MODEL,
    "spikeserve_requests": {"model", "endpoint", "code"},
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
