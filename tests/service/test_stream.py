"""``POST /classify/stream``: every timestep, then the answer that ``/classify`` would give."""

from __future__ import annotations

import base64
import json
import threading
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from spikeserve.models.bundle import Bundle
from spikeserve.models.encoding import Pixels
from spikeserve.models.engines.contract import State, Step
from spikeserve.models.spike_maps import SpikeMaps
from spikeserve.service.app import create_app
from spikeserve.service.settings import Settings


def events(response: httpx2.Response) -> list[tuple[str, dict[str, Any]]]:
    assert response.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in response.text.strip().split("\n\n"):
        kind, data = block.split("\n")
        found.append((kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def test_timesteps_lead_to_the_same_answer(client: TestClient, png: bytes) -> None:
    query = "?entropy_threshold=0&max_timesteps=3&top_k=3"
    response = client.post(f"/classify/stream{query}", content=png)
    assert response.status_code == 200
    *steps, (last, result) = events(response)
    alone = client.post(f"/classify{query}", content=png).json()
    assert [kind for kind, _ in steps] == ["timestep"] * 3
    assert [step["t"] for _, step in steps] == [1, 2, 3]
    assert last == "result"
    for part in ("top_k", "timesteps_used", "entropy", "energy", "stop_reason"):
        assert result[part] == alone[part]
    assert steps[-1][1]["top_k"] == result["top_k"]
    assert steps[-1][1]["entropy"] == result["entropy"]
    assert steps[-1][1]["energy_pj"] == result["energy"]["total_pj"]
    assert [step["spikes"] for _, step in steps] == sorted(step["spikes"] for _, step in steps)
    assert [step["energy_pj"] for _, step in steps] == sorted(
        step["energy_pj"] for _, step in steps
    )


@pytest.mark.parametrize("form", ["query", "file", "json", "json and query"])
def test_energies_are_left_out_where_nobody_wants_them(
    client: TestClient, png: bytes, form: str
) -> None:
    inputs, off = {"inputs": base64.b64encode(png).decode()}, {"energy": "off"}
    asked: dict[str, dict[str, Any]] = {
        "query": {"params": off, "content": png},
        "file": {"params": off, "files": {"file": png}},
        "json": {"json": inputs | {"parameters": off}},
        "json and query": {"params": off, "json": inputs | {"parameters": {"detail": "spikes"}}},
    }
    *steps, (_, result) = events(client.post("/classify/stream", **asked[form]))
    assert result["energy"] is None
    assert steps
    for _, step in steps:
        assert step["energy_pj"] is step["energy_interval_pj"] is None


def test_intervals_grow_to_the_answers(client: TestClient, png: bytes) -> None:
    query = "?entropy_threshold=0"
    *steps, (_, result) = events(client.post(f"/classify/stream{query}", content=png))
    intervals = [step["energy_interval_pj"] for _, step in steps]
    assert intervals == sorted(intervals)
    assert intervals[-1] == result["energy"]["interval_pj"]
    for (_, step), (low, high) in zip(steps, intervals, strict=True):
        assert low < step["energy_pj"] < high


def test_details_show_what_entered_and_what_fired(
    client: TestClient, bundle: Bundle, images: Pixels, png: bytes
) -> None:
    *steps, _ = events(
        client.post("/classify/stream?entropy_threshold=0&detail=spikes", content=png)
    )
    assert len(steps) == bundle.manifest.timesteps
    before = 0
    for _, step in steps:
        shown, layers = step["detail"]["input"], step["detail"]["layers"]
        frame = bundle.manifest.encoding.frame(images[0], step["t"])
        assert base64.b64decode(shown["pixels"]) == frame.tobytes()
        assert shown["shape"] == list(frame.shape)
        for layer, lif in zip(layers, bundle.manifest.network.lifs, strict=True):
            assert layer["name"] == lif.name
            assert len(base64.b64decode(layer["map"])) == np.prod(layer["shape"])
        assert sum(layer["spikes"] for layer in layers) == step["spikes"] - before
        before = step["spikes"]


def test_details_are_asked_for_in_a_document_too(client: TestClient, png: bytes) -> None:
    document = {"inputs": base64.b64encode(png).decode(), "parameters": {"detail": "spikes"}}
    (_, step), *_ = events(client.post("/classify/stream", json=document))
    assert step["detail"]["layers"]
    (_, step), *_ = events(client.post("/classify/stream", content=png))
    assert step["detail"] is None


@pytest.mark.parametrize("path", ["/classify", "/classify/batch"])
def test_only_streams_have_details(client: TestClient, png: bytes, path: str) -> None:
    response = client.post(f"{path}?detail=spikes", files={"file": png})
    assert response.status_code == 422
    assert "detail" in response.json()["detail"]
    document = {"inputs": base64.b64encode(png).decode(), "parameters": {"detail": "spikes"}}
    response = client.post("/classify", json=document)
    assert response.status_code == 422


def test_networks_that_take_too_much_memory_have_none(
    client: TestClient, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spikeserve.service.details.MOST_BYTES", 1)
    response = client.post("/classify/stream?detail=spikes", content=png)
    assert response.status_code == 422
    assert "MiB" in response.json()["detail"]
    assert client.post("/classify/stream", content=png).status_code == 200


def test_an_answer_is_not_lost_with_a_detail(
    client: TestClient, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: SpikeMaps) -> None:
        raise MemoryError

    monkeypatch.setattr(SpikeMaps, "step", fails)
    *steps, (last, _) = events(client.post("/classify/stream?detail=spikes", content=png))
    assert last == "result"
    assert {step["detail"] for _, step in steps} == {None}


def test_a_deadline_does_not_wait_for_details(
    client: TestClient, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def waits(_: SpikeMaps) -> None:
        released.wait()
        raise MemoryError

    monkeypatch.setattr(SpikeMaps, "step", waits)
    query = "?detail=spikes&entropy_threshold=0&deadline_ms=2000"
    try:
        *steps, (last, result) = events(client.post(f"/classify/stream{query}", content=png))
    finally:
        released.set()
    assert last == "result"
    assert result["stop_reason"] == "max_timesteps"  # all was computed long before
    assert {step["detail"] for _, step in steps} == {None}


@pytest.mark.parametrize(("query", "body", "status"), [("", b"text", 415), ("?top_k=0", b"", 422)])
def test_what_is_wrong_from_the_start_is_a_plain_problem(
    client: TestClient, query: str, body: bytes, status: int
) -> None:
    response = client.post(f"/classify/stream{query}", content=body)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


def test_what_goes_wrong_on_the_way_is_an_error_event(bundle_folder: Path, png: bytes) -> None:
    app = create_app(Settings(bundles=(bundle_folder,)))
    with TestClient(app) as client:
        engine = app.state.registry.get().worker.engine
        step = engine.step

        def breaks_at_two(frames: np.ndarray[Any, Any], state: State) -> Step:
            if state.arrays[0].any():  # ages: a row that has been stepped before
                raise RuntimeError("broken on purpose")
            result: Step = step(frames, state)
            return result

        engine.step = breaks_at_two
        found = events(client.post("/classify/stream?entropy_threshold=0", content=png))
        assert [kind for kind, _ in found] == ["timestep", "error"]
        assert found[1][1]["status"] == 500
        assert app.state.admission.inside == 0
