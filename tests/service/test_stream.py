"""``POST /classify/stream``: every timestep, then the answer that ``/classify`` would give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from spikeserve.models.engines.contract import State, Step
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


def test_energies_are_left_out_where_nobody_wants_them(client: TestClient, png: bytes) -> None:
    *steps, (_, result) = events(client.post("/classify/stream?energy=off", content=png))
    assert steps
    assert {step["energy_pj"] for _, step in steps} == {result["energy"]} == {None}


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
