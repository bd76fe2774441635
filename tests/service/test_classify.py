"""``POST /classify``: the documented answer, by every way in."""

from __future__ import annotations

import base64
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from spikeserve.models.bundle import Bundle
from spikeserve.models.engines.fake import FakeEngine
from spikeserve.models.engines.onnx import OnnxEngine
from spikeserve.models.inference import classify
from spikeserve.service.app import create_app
from spikeserve.service.images import decode_image
from spikeserve.service.settings import Settings
from tests.conftest import encoded
from tests.hostile.files import PHOTO, rotated_jpeg, saved, sixteen_bit_png
from tests.programs import TIMESTEPS, save_tiny_bundle

Images = NDArray[np.uint8]


def test_the_answer_has_the_documented_shape(client: TestClient, png: bytes) -> None:
    response = client.post(
        "/classify?entropy_threshold=0.3&top_k=2",
        content=png,
        headers={"Content-Type": "image/png", "X-Request-Id": "mine-1"},
    )
    answer = response.json()
    assert response.status_code == 200
    assert set(answer) == {
        "request_id", "model", "prediction", "top_k", "timesteps_used", "max_timesteps",
        "entropy", "entropy_threshold", "requested_entropy_threshold", "expected",
        "stop_reason", "energy", "timing_ms",
    }  # fmt: skip
    assert answer["request_id"] == response.headers["x-request-id"] == "mine-1"
    assert answer["model"] == {"name": "tiny", "version": "1", "engine": "event"}
    assert answer["prediction"] == answer["top_k"][0]
    assert set(answer["prediction"]) == {"index", "label", "probability"}
    assert len(answer["top_k"]) == 2
    assert answer["entropy_threshold"] == 0.3
    assert set(answer["energy"]) == {
        "estimate", "total_pj", "interval_pj", "static_pj", "saved_ratio", "saved_interval",
        "ann_pj", "ann_bits", "latency_ns", "pipelined_latency_ns", "edp_pj_ns", "profile",
        "in_domain", "detail",
    }  # fmt: skip
    assert set(answer["timing_ms"]) == {"decode", "queue", "inference", "total"}
    assert response.headers["x-timesteps-used"] == str(answer["timesteps_used"])


def test_every_way_in_gives_the_same_answer(client: TestClient, png: bytes) -> None:
    ways = [
        client.post("/classify", content=png, headers={"Content-Type": "image/png"}),
        client.post("/classify", content=png),
        client.post(
            "/classify",
            content=png,
            headers={"Content-Type": "application/x-www-form-urlencoded"},  # curl's default
        ),
        client.post("/classify", files={"file": ("photo.png", png, "image/png")}),
        client.post("/classify", json={"inputs": base64.b64encode(png).decode()}),
    ]
    assert [way.status_code for way in ways] == [200] * 5
    keep = ("prediction", "timesteps_used", "entropy", "energy")
    answers = [{key: way.json()[key] for key in keep} for way in ways]
    assert all(answer == answers[0] for answer in answers)


def test_json_parameters_and_query_parameters_combine(client: TestClient, png: bytes) -> None:
    document = {
        "inputs": base64.b64encode(png).decode(),
        "parameters": {"max_timesteps": 2, "entropy_threshold": 0.0},
    }
    answer = client.post("/classify?top_k=3&entropy_threshold=1", json=document).json()
    assert (answer["timesteps_used"], answer["stop_reason"]) == (2, "max_timesteps")
    assert (len(answer["top_k"]), answer["entropy_threshold"]) == (3, 0.0)


def test_default_threshold_comes_from_the_calibration(client: TestClient, png: bytes) -> None:
    assert client.post("/classify", content=png).json()["entropy_threshold"] == 0.8


def test_threshold_zero_never_exits_early(client: TestClient, png: bytes) -> None:
    answer = client.post("/classify?entropy_threshold=0", content=png).json()
    assert (answer["timesteps_used"], answer["stop_reason"]) == (TIMESTEPS, "max_timesteps")
    assert answer["energy"]["saved_ratio"] == 0


def test_threshold_one_exits_at_min_timesteps(client: TestClient, png: bytes) -> None:
    answer = client.post("/classify?entropy_threshold=1&min_timesteps=2", content=png).json()
    assert (answer["timesteps_used"], answer["stop_reason"]) == (2, "entropy")
    assert answer["energy"]["saved_ratio"] > 0


def test_parallel_requests_are_never_swapped(
    client: TestClient, bundle: Bundle, images: Images
) -> None:
    """Unique images, mixed thresholds: each answer is its own solo run's."""
    engine = OnnxEngine(bundle.program, bundle.graph)
    thresholds = np.random.default_rng(0).uniform(0.9, 1.0, len(images))
    with ThreadPoolExecutor(16) as pool:
        answers = list(
            pool.map(
                lambda pair: client.post(
                    f"/classify?entropy_threshold={pair[1]}&top_k=10", content=encoded(pair[0])
                ).json(),
                zip(images, thresholds, strict=True),
            )
        )
    for image, threshold, answer in zip(images, thresholds, answers, strict=True):
        policy = bundle.manifest.policy(entropy_threshold=float(threshold))
        (row,) = classify(engine, bundle.manifest, image[None], [policy])
        assert row.probabilities is not None
        assert answer["timesteps_used"] == row.t
        assert answer["entropy"] == row.entropy
        probabilities = {item["index"]: item["probability"] for item in answer["top_k"]}
        assert [probabilities[k] for k in range(10)] == row.probabilities.tolist()


def test_full_queue_is_429_with_retry_after_and_the_admitted_are_answered(
    bundle_folder: Path, png: bytes
) -> None:
    app = create_app(Settings(bundles=(bundle_folder,), slots=1, queue_timesteps=2))
    with TestClient(app) as client, ThreadPoolExecutor(2) as pool:
        worker = app.state.registry.get(None).worker
        entered, opened = threading.Event(), threading.Event()

        def wait(*_: object) -> None:
            entered.set()
            assert opened.wait(10)

        worker.engine = FakeEngine(worker.engine.network, before_step=wait)
        running = pool.submit(client.post, "/classify", content=png)
        assert entered.wait(10)
        queued = pool.submit(client.post, "/classify", content=png)
        while not worker.scheduler.waiting:
            time.sleep(0.001)
        refused = client.post("/classify", content=png)
        gauges = client.get("/metrics").text
        opened.set()
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
        assert 'spikeserve_requests_running{model="tiny",version="1"} 1.0' in gauges
        assert 'spikeserve_requests_queued{model="tiny",version="1"} 1.0' in gauges
        assert [running.result(10).status_code, queued.result(10).status_code] == [200, 200]


def test_several_models_and_a_default(tmp_path: Path, png: bytes) -> None:
    folders = tuple(save_tiny_bundle(tmp_path / name, name, seed) for seed, name in enumerate("ab"))
    with TestClient(create_app(Settings(bundles=folders))) as client:
        names = [model["name"] for model in client.get("/v1/models").json()["models"]]
        assert names == ["a", "b"]
        assert client.post("/classify", content=png).json()["model"]["name"] == "a"
        assert client.post("/classify?model=b", content=png).json()["model"]["name"] == "b"
        assert client.get("/v1/models/b").json()["name"] == "b"


def test_exact_size_passes_untouched(images: Images) -> None:
    decoded = decode_image(encoded(images[0]), (16, 16, 3), 10_000)
    assert np.array_equal(decoded, images[0])


def test_photos_are_turned_upright() -> None:
    upright = decode_image(rotated_jpeg(), (60, 40, 3), 10_000)
    expected = np.asarray(PHOTO.rotate(270, expand=True))
    assert np.abs(upright.astype(int) - expected.astype(int)).mean() < 5


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    decoded = decode_image(sixteen_bit_png(), (30, 30, 3), 10_000)
    assert 100 < decoded.mean() < 155


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(mode: str) -> None:
    clear = PHOTO.convert("RGB").convert(mode)
    clear.putalpha(0)
    assert (decode_image(saved(clear, "PNG"), (4, 4, 3), 10_000) == 255).all()
