"""``POST /classify/batch``: items are independent, in order, and bounded."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from spikeserve.service.app import create_app
from spikeserve.service.settings import Settings
from tests.conftest import encoded

SAME = ("prediction", "timesteps_used", "entropy", "entropy_threshold", "energy")


def inputs(image: bytes) -> str:
    return base64.b64encode(image).decode()


def test_items_get_their_own_parameters_and_errors(
    client: TestClient, images: NDArray[np.uint8]
) -> None:
    files = [encoded(image) for image in images[:3]]
    document = {
        "parameters": {"max_timesteps": 3},
        "items": [
            {"inputs": inputs(files[0])},
            {"inputs": inputs(b"no image")},
            {"inputs": inputs(files[1]), "parameters": {"entropy_threshold": 0.0}},
            {"inputs": "%%%"},
            {"inputs": inputs(files[2]), "parameters": {"entropy_threshold": 7}},
            {"inputs": inputs(files[2]), "parameters": {"model": "nobody"}},
            "not an item",
            {"surprise": 1},
        ],
    }
    response = client.post("/classify/batch?top_k=2", json=document)
    assert response.status_code == 200
    answer = response.json()
    results = answer["results"]
    assert [item["status"] for item in results] == [200, 415, 200, 400, 422, 404, 422, 422]
    first, second = results[0]["classification"], results[2]["classification"]
    alone = client.post("/classify?top_k=2&max_timesteps=3", content=files[0]).json()
    assert {part: first[part] for part in SAME} == {part: alone[part] for part in SAME}
    assert (second["timesteps_used"], len(second["top_k"])) == (3, 2)
    assert results[1]["problem"]["detail"].startswith("not a JPEG")
    used = [first["timesteps_used"], second["timesteps_used"]]
    assert answer["average_timesteps"] == sum(used) / 2


def test_a_form_with_several_files(client: TestClient, images: NDArray[np.uint8]) -> None:
    files = [encoded(image) for image in images[:5]]
    form = [("file", (f"{n}.png", data, "image/png")) for n, data in enumerate(files)]
    results = client.post("/classify/batch", files=form).json()["results"]
    for item, data in zip(results, files, strict=True):
        alone = client.post("/classify", content=data).json()
        assert {part: item["classification"][part] for part in SAME} == {
            part: alone[part] for part in SAME
        }


def test_a_file_under_another_name_is_not_dropped(client: TestClient, png: bytes) -> None:
    form = [("file", ("a.png", png, "image/png")), ("files", ("b.png", png, "image/png"))]
    response = client.post("/classify/batch", files=form)
    assert (response.status_code, "'file'" in response.json()["detail"]) == (400, True)


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({"items": []}, 422),
        ({}, 422),
        ([], 422),
        ({"items": [{}], "surprise": 1}, 422),
        ({"items": [{}], "parameters": {"top_k": 0}}, 422),
        ({"items": [{"inputs": ""}] * 65}, 422),
    ],
)
def test_a_batch_that_is_wrong_as_a_whole(client: TestClient, document: Any, status: int) -> None:
    response = client.post("/classify/batch", json=document)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"


def test_raw_bytes_are_no_batch(client: TestClient, png: bytes) -> None:
    assert client.post("/classify/batch", content=png).status_code == 415


def test_items_beyond_the_queue_are_refused_one_by_one_and_places_are_given_back(
    bundle_folder: Path, png: bytes
) -> None:
    app = create_app(Settings(bundles=(bundle_folder,), slots=1, queue_timesteps=8))
    with TestClient(app) as client:
        worker = app.state.registry.get().worker
        worker.scheduler.queue_timesteps = 4
        form = [("file", ("a.png", png, "image/png"))] * 9
        results = client.post("/classify/batch?entropy_threshold=0", files=form).json()["results"]
        statuses = [item["status"] for item in results]
        assert set(statuses) == {200, 429}
        assert app.state.admission.inside == 0
        too_many = client.post("/classify/batch", files=form * 2)
        assert too_many.status_code == 422, "it would never fit"
        assert app.state.admission.inside == 0
