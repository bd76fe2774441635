"""Recordings over HTTP, and a model that nobody has calibrated."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

import spikeserve
from spikeserve.service.app import create_app
from spikeserve.service.cli import main
from spikeserve.service.settings import Settings
from tests.models.test_recordings import frames, stored
from tests.programs import recording_bundle
from tests.service.test_stream import events


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recording_bundle(tmp_path_factory.mktemp("recordings") / "bundle")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(bundles=(folder,), brownout=True))) as client:
        yield client


def test_every_way_in_gives_the_same_answer(client: TestClient, folder: Path) -> None:
    file, query = stored(frames()), {"top_k": "10"}
    expected = spikeserve.load(folder).classify(frames())
    npy = {"Content-Type": "application/x-npy"}
    text = base64.b64encode(file).decode()
    answers = [
        client.post("/classify", content=file, headers=npy, params=query).json(),
        client.post("/classify", files={"file": ("f.npy", file)}, params=query).json(),
        client.post("/classify", json={"inputs": text}, params=query).json(),
        client.post("/classify/batch", json={"items": [{"inputs": text}]}, params=query).json()[
            "results"
        ][0]["classification"],
        events(client.post("/classify/stream", content=file, params=query))[-1][1],
    ]
    for answer in answers:
        assert answer["timesteps_used"] == 4
        assert answer["top_k"][0]["label"] == expected.label
        assert answer["entropy"] == expected.entropy
    raw = client.post(
        "/v2/models/recordings/infer",
        json={
            "inputs": [
                {
                    "name": "image", "datatype": "UINT8", "shape": [1, *frames().shape],
                    "data": frames().ravel().tolist(),
                }
            ]
        },
    ).json()  # fmt: skip
    outputs = {output["name"]: output["data"] for output in raw["outputs"]}
    assert outputs["probabilities"] == list(expected.probabilities)


def test_streams_show_frames_and_how_many_spikes_there_were(
    client: TestClient, folder: Path
) -> None:
    told = events(client.post("/classify/stream?detail=spikes", content=stored(frames())))
    trace = spikeserve.load(folder).trace(frames())
    for (_, step), spikes, frame in zip(told, trace.spikes, frames(), strict=False):
        assert [layer["spikes"] for layer in step["detail"]["layers"]] == spikes.tolist()
        shown = step["detail"]["input"]
        assert shown["shape"] == [16, 16, 2]
        assert base64.b64decode(shown["pixels"]) == np.minimum(frame, 3).tobytes()


def test_what_is_no_recording_is_refused(client: TestClient, png: bytes) -> None:
    answer = client.post("/classify", content=png)
    assert answer.status_code == 415
    assert "recordings" in answer.json()["detail"]
    answer = client.post("/classify", content=stored(frames()[:2]))
    assert answer.status_code == 422
    assert "[4, 16, 16, 2]" in answer.json()["detail"]


def test_thresholds_work_and_targets_say_what_is_missing(client: TestClient) -> None:
    file = stored(frames())
    early = client.post("/classify?entropy_threshold=1", content=file).json()
    assert early["timesteps_used"] == 1
    assert client.post("/classify?max_timesteps=2", content=file).json()["timesteps_used"] == 2
    for target in ("target_accuracy=0.9", "target_timesteps=2", "energy_budget_pj=1e9"):
        answer = client.post(f"/classify?{target}", content=file)
        assert answer.status_code == 409
        assert "entropy_threshold" in answer.json()["detail"]
    answer = client.get("/v1/models/recordings/calibration")
    assert answer.status_code == 409
    assert "entropy_threshold" in answer.json()["detail"]


def test_lists_say_that_nothing_is_calibrated(client: TestClient) -> None:
    (model,) = client.get("/v1/models").json()["models"]
    assert model["default_entropy_threshold"] is None
    assert model["input_shape"] == [4, 16, 16, 2]
    assert model["encoding"] == "frames"
    assert client.get("/v1/models/recordings").json()["exits"]["table"] == []
    metadata = client.get("/v2/models/recordings").json()
    assert metadata["inputs"][0]["shape"] == [-1, 4, 16, 16, 2]
    assert client.get("/v1/status").status_code == 200
    assert client.get("/metrics").status_code == 200


def test_recordings_stay_counted_until_they_are_answered(client: TestClient) -> None:
    admission = client.app.state.admission  # type: ignore[attr-defined]
    client.post("/classify", content=stored(frames()))
    assert admission.held_bytes == 0


def test_commands_know_recordings(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "walk.npy"
    np.save(file, frames())
    assert main(["classify", "--bundle", str(folder), str(file)]) == 0
    assert "4/4" in capsys.readouterr().out
    for command in (["models", "--bundle", str(folder)], ["energy", str(folder)]):
        assert main(command) == 0
    assert json.loads((folder / "manifest.json").read_text())["schema_version"] == 2
