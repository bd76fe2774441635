"""Deadlines and asked-for outcomes: when a row stops, other than by its own threshold."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from spikeserve.models.bundle import load_bundle, save_manifest
from spikeserve.models.engines.fake import FakeEngine
from spikeserve.models.manifest import ExitPoint
from spikeserve.service.app import create_app
from spikeserve.service.settings import Settings
from tests.clock import Clock
from tests.programs import TIMESTEPS, save_tiny_bundle

TABLE = tuple(
    ExitPoint(entropy_threshold=threshold, accuracy=accuracy, average_timesteps=steps)
    for threshold, accuracy, steps in (
        (0.0, 0.90, 4.0),
        (0.2, 0.90, 2.5),
        (0.5, 0.88, 1.5),
        (1.0, 0.80, 1.0),
    )
)


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = save_tiny_bundle(tmp_path_factory.mktemp("calibrated") / "tiny")
    manifest = load_bundle(folder).manifest
    exits = manifest.exits.model_copy(update={"table": TABLE})
    save_manifest(folder, manifest.model_copy(update={"exits": exits}))
    with TestClient(create_app(Settings(bundles=(folder,), brownout=True))) as client:
        yield client


@pytest.mark.parametrize(
    ("query", "threshold", "accuracy"),
    [
        ("target_accuracy=0.9", 0.2, 0.90),
        ("target_accuracy=0.85", 0.5, 0.88),
        ("target_accuracy=0", 1.0, 0.80),
        ("target_timesteps=2", 0.5, 0.88),
        ("target_timesteps=4", 0.2, 0.90),
        ("energy_budget_pj=1e12", 0.2, 0.90),
    ],
)
def test_an_outcome_becomes_the_threshold_that_gives_it(
    calibrated: TestClient, png: bytes, query: str, threshold: float, accuracy: float
) -> None:
    answer = calibrated.post(f"/classify?{query}", content=png).json()
    assert answer["entropy_threshold"] == threshold
    assert answer["expected"]["accuracy"] == accuracy


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("target_accuracy=0.95", 409),
        ("energy_budget_pj=0.001", 409),
        ("target_accuracy=2", 422),
        ("target_timesteps=0.5", 422),
        ("energy_budget_pj=-1", 422),
        ("energy_budget_pj=inf", 422),
        ("target_accuracy=0.9&entropy_threshold=0.1", 422),
        ("target_accuracy=0.9&target_timesteps=2", 422),
        ("target_timesteps=2&max_timesteps=2", 422),
        ("deadline_ms=0", 422),
        ("deadline_ms=nan", 422),
        ("deadline_ms=1e9", 422),
        ("on_deadline=later", 422),
    ],
)
def test_what_cannot_be_met_or_meant_is_refused(
    calibrated: TestClient, png: bytes, query: str, status: int
) -> None:
    response = calibrated.post(f"/classify?{query}", content=png)
    assert response.status_code == status, response.text
    if status == 409:
        assert "reaches" in response.json()["detail"]


def test_the_curve_can_be_read(calibrated: TestClient) -> None:
    document = calibrated.get("/v1/models/tiny/calibration").json()
    assert document["default_entropy_threshold"] == 0.8
    assert [p["entropy_threshold"] for p in document["curve"]] == [0.0, 0.2, 0.5, 1.0]
    energies = [p["energy_pj"] for p in document["curve"]]
    assert energies == sorted(energies, reverse=True)
    assert calibrated.get("/v1/models/nobody/calibration").status_code == 404


@pytest.fixture
def slow(bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    app = create_app(Settings(bundles=(bundle_folder,), slots=1))
    with TestClient(app) as client:
        worker = app.state.registry.get().worker
        clock, network = Clock(), worker.engine.network
        worker.engine = FakeEngine(network, before_step=lambda *_: clock.advance(0.1))
        for module in ("worker", "classification", "routes.classify"):
            monkeypatch.setattr(f"spikeserve.service.{module}.time", clock)
        yield client


def test_the_best_answer_so_far_at_the_deadline(slow: TestClient, png: bytes) -> None:
    answer = slow.post("/classify?entropy_threshold=0&deadline_ms=50", content=png).json()
    assert answer["stop_reason"] == "deadline"
    assert answer["timesteps_used"] < TIMESTEPS
    answer = slow.post("/classify?entropy_threshold=0&deadline_ms=60000", content=png).json()
    assert answer["stop_reason"] == "max_timesteps"


def test_an_error_at_the_deadline_for_who_wants_it(slow: TestClient, png: bytes) -> None:
    query = "entropy_threshold=0&deadline_ms=50&on_deadline=error"
    response = slow.post(f"/classify?{query}", content=png)
    assert response.status_code == 504
    assert "after 1 of at most 4 timesteps" in response.json()["detail"]


def test_a_deadline_before_the_first_timestep_leaves_nothing_to_answer(
    calibrated: TestClient, png: bytes
) -> None:
    assert calibrated.post("/classify?deadline_ms=0.0001", content=png).status_code == 504


def test_brownout_is_reported_and_can_be_declined(
    calibrated: TestClient, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = calibrated.app.state.registry.get()  # type: ignore[attr-defined]
    model.brownout.level = 4
    monkeypatch.setattr(model.brownout, "observe", lambda *_: None)  # it would calm down
    model.brownout._accuracy_loss = 0.03
    moved = calibrated.post("/classify?entropy_threshold=0.2", content=png).json()
    assert (moved["entropy_threshold"], moved["requested_entropy_threshold"]) == (0.5, 0.2)
    for query in ("entropy_threshold=0.2&brownout=false", "target_accuracy=0.9"):
        kept = calibrated.post(f"/classify?{query}", content=png).json()
        assert (kept["entropy_threshold"], kept["requested_entropy_threshold"]) == (0.2, None)
    never = calibrated.post("/classify?entropy_threshold=0", content=png).json()
    assert never["timesteps_used"] == TIMESTEPS


@pytest.mark.parametrize(
    ("level", "accuracy", "timesteps", "used"), [(4, 0.88, 1.5, 0.5), (2, 0.89, 2.0, 0.35)]
)
@pytest.mark.parametrize("outcome", ["target_timesteps", "energy_budget_pj"])
def test_under_brownout_the_expectation_is_of_the_threshold_that_is_used(
    calibrated: TestClient,
    png: bytes,
    monkeypatch: pytest.MonkeyPatch,
    level: int,
    accuracy: float,
    timesteps: float,
    used: float,
    outcome: str,
) -> None:
    model = calibrated.app.state.registry.get()  # type: ignore[attr-defined]
    points = {p.entropy_threshold: p.energy_pj for p in model.curve.points}
    energy = points[0.2] + (used - 0.2) / 0.3 * (points[0.5] - points[0.2])
    monkeypatch.setattr(model.brownout, "level", level)
    monkeypatch.setattr(model.brownout, "observe", lambda *_: None)
    monkeypatch.setattr(model.brownout, "_accuracy_loss", 0.03)
    monkeypatch.setattr(model.brownout, "_bounds", {})
    wanted = 2.5 if outcome == "target_timesteps" else points[0.2]
    inputs = base64.b64encode(png).decode()
    document = {"inputs": inputs, "parameters": {outcome: wanted}}
    one = calibrated.post(f"/classify?{outcome}={wanted!r}", content=png).json()
    batch = calibrated.post("/classify/batch", json={"items": [document] * 2}).json()["results"]
    stream = calibrated.post("/classify/stream", json=document).text.rpartition("data: ")[2]
    for answer in (one, *(item["classification"] for item in batch), json.loads(stream)):
        assert answer["entropy_threshold"] == pytest.approx(used)
        assert answer["requested_entropy_threshold"] == 0.2
        assert answer["expected"] == pytest.approx(
            {"accuracy": accuracy, "average_timesteps": timesteps, "energy_pj": energy}
        )
    image = {"name": "image", "datatype": "BYTES", "shape": [2], "data": [inputs] * 2}
    infer = {"inputs": [image], "parameters": {outcome: wanted}}
    told = calibrated.post("/v2/models/tiny/infer", json=infer).json()["parameters"]
    assert told["requested_entropy_threshold"] == 0.2
    for part, expected in one["expected"].items():
        assert told[f"expected_{part}"] == pytest.approx(expected)


def test_null_is_as_good_as_left_out(calibrated: TestClient, png: bytes) -> None:
    document = {
        "inputs": base64.b64encode(png).decode(),
        "parameters": {"target_accuracy": None, "target_timesteps": 2, "entropy_threshold": None},
    }
    answer = calibrated.post("/classify", json=document).json()
    assert answer["entropy_threshold"] == 0.5
