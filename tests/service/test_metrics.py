"""``GET /metrics``: names and labels that dashboards rely on, and numbers that add up."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse

from service.app import create_app
from service.settings import Settings

# Removing or renaming one of these breaks somebody's dashboard.
GOLDEN = {
    "spikeserve_inference_timesteps": {"model"},
    "spikeserve_requests": {"model", "endpoint", "code"},
    "spikeserve_request_duration_seconds": {"model", "endpoint"},
    "spikeserve_inferences": {"model", "stop_reason"},
    "spikeserve_queue_duration_seconds": {"model"},
    "spikeserve_decode_duration_seconds": {"model"},
    "spikeserve_inference_duration_seconds": {"model"},
    "spikeserve_step_duration_seconds": {"model"},
    "spikeserve_timesteps_executed": {"model"},
    "spikeserve_timesteps_saved": {"model"},
    "spikeserve_slot_steps": {"model", "state"},
    "spikeserve_batch_rows": {"model"},
    "spikeserve_exit_entropy": {"model"},
    "spikeserve_requested_entropy_threshold": {"model"},
    "spikeserve_energy_joules": {"model"},
    "spikeserve_energy_baseline_joules": {"model"},
    "spikeserve_request_energy_joules": {"model"},
    "spikeserve_requests_running": {"model"},
    "spikeserve_requests_queued": {"model"},
    "spikeserve_queue_capacity": {"model"},
    "spikeserve_slots": {"model"},
    "spikeserve_requests_rejected": {"reason"},
    "spikeserve_engine_last_step_timestamp_seconds": {"model"},
    "spikeserve_ready": set(),
    "spikeserve_model_info": {"model", "version", "engine", "encoding"},
    "spikeserve_build_info": {"version"},
}


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
    assert value(fresh, "spikeserve_inference_timesteps_sum", model="tiny") == total
    assert value(fresh, "spikeserve_inference_timesteps_count", model="tiny") == 3
    assert value(fresh, "spikeserve_timesteps_executed_total", model="tiny") == total
    assert value(fresh, "spikeserve_timesteps_saved_total", model="tiny") == 3 * 4 - total
    for reason, count in (("entropy", 2), ("max_timesteps", 1), ("error", 0)):
        found = value(fresh, "spikeserve_inferences_total", model="tiny", stop_reason=reason)
        assert found == count
    joules = sum(answer["energy"]["total_pj"] for answer in used) * 1e-12
    assert value(fresh, "spikeserve_energy_joules_total", model="tiny") == pytest.approx(joules)
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
