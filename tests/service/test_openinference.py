"""The Open Inference Protocol: same answers as ``POST /classify``, in and out as JSON or bytes."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from starlette.types import Message
from tritonclient.utils import InferenceServerException

from spikeserve.models.bundle import Bundle
from spikeserve.models.engines.contract import State, Step
from spikeserve.service import tensors
from spikeserve.service.app import create_app
from spikeserve.service.classification import Classifier
from spikeserve.service.keys import key_hash
from spikeserve.service.settings import Settings
from tests.conftest import encoded
from tests.processes import running_service
from tests.programs import IMAGE_SHAPE, LABELS, TIMESTEPS, save_tiny_bundle
from tests.service.openinference import (
    HEADER,
    INFER,
    SMALL,
    Images,
    as_binary,
    as_json,
    assert_error,
    expected,
    outputs,
    post_binary,
)


@pytest.mark.parametrize("datatype", ["BYTES", "UINT8"])
@pytest.mark.parametrize("binary_in", [False, True])
@pytest.mark.parametrize("binary_out", [False, True])
def test_every_way_gives_what_classify_gives(
    client: TestClient, images: Images, datatype: str, binary_in: bool, binary_out: bool
) -> None:
    few = images[:5]
    more: dict[str, Any] = {
        "id": "mine",
        "parameters": {"entropy_threshold": 0.85, "binary_data_output": binary_out},
    }
    if binary_in:
        response = post_binary(client, *as_binary(few, datatype, **more))
    else:
        response = client.post(INFER, json=as_json(few, datatype, **more))
    found = outputs(response)
    assert found == expected(client, few, "&entropy_threshold=0.85")
    assert len(set(found["timesteps"])) > 1
    assert (HEADER in response.headers) is binary_out
    head = json.loads(response.content[: int(response.headers.get(HEADER, "999999"))])
    assert (head["model_name"], head["model_version"], head["id"]) == ("tiny", "1", "mine")
    assert head["parameters"] == {
        "average_timesteps": pytest.approx(np.mean(found["timesteps"])),
        "energy_total_pj": pytest.approx(sum(found["energy_pj"])),
        "energy_is_an_estimate": True,
    }


def test_one_image_without_a_batch_dimension(client: TestClient, images: Images) -> None:
    document = as_json(images[0], "UINT8")
    document["inputs"][0]["data"] = images[0].ravel().tolist()
    response = client.post("/v2/models/tiny/versions/1/infer", json=document)
    alone = client.post("/classify", content=encoded(images[0])).json()
    assert outputs(response) == expected(client, images[:1])
    assert "id" not in response.json()
    assert response.json()["parameters"] == {
        "average_timesteps": alone["timesteps_used"],
        "timesteps_used": alone["timesteps_used"],
        "entropy": alone["entropy"],
        "entropy_threshold": 0.8,
        "stop_reason": alone["stop_reason"],
        "energy_pj": alone["energy"]["total_pj"],
        "energy_total_pj": alone["energy"]["total_pj"],
        "energy_static_pj": alone["energy"]["static_pj"],
        "energy_is_an_estimate": True,
    }


def test_a_body_that_is_only_the_image(client: TestClient, images: Images, png: bytes) -> None:
    response = client.post(INFER, content=png, headers={HEADER: "0"})
    assert outputs(response) == expected(client, images[:1])
    assert response.headers["content-type"] == "application/octet-stream"


def test_outputs_are_selected_in_order_and_each_has_its_encoding(
    client: TestClient, images: Images
) -> None:
    wanted: list[dict[str, Any]] = [
        {"name": "timesteps", "parameters": {"binary_data": False}},
        {"name": "probabilities", "parameters": {"classification": 3}},
        {"name": "label"},
    ]
    document = as_json(images[:2], "BYTES", outputs=wanted, parameters={"binary_data_output": True})
    response = client.post(INFER, json=document)
    head = json.loads(response.content[: int(response.headers[HEADER])])
    assert [output["name"] for output in head["outputs"]] == [one["name"] for one in wanted]
    assert ["data" in output for output in head["outputs"]] == [True, False, False]
    assert [output["shape"] for output in head["outputs"]] == [[2], [2, 3], [2]]
    ranked = client.post("/classify?top_k=3", content=encoded(images[1])).json()["top_k"]
    assert outputs(response)["probabilities"][1] == [
        f"{one['probability']}:{one['index']}:{one['label']}" for one in ranked
    ]


def test_errors_have_the_codes_they_have_elsewhere(client: TestClient, png: bytes) -> None:
    wrong = as_json(SMALL, "BYTES")
    wrong["inputs"][0] |= {"shape": [2], "data": [*wrong["inputs"][0]["data"], "aGVsbG8="]}
    assert assert_error(client.post(INFER, json=wrong), 415).startswith("not a JPEG")
    document = as_json(SMALL, "UINT8")
    assert_error(client.post("/v2/models/nobody/infer", json=document), 404)
    assert_error(client.post("/v2/models/tiny/versions/9/infer", json=document), 404)
    assert_error(client.post(INFER, content=bytes((1 << 20) + 1)), 413)
    packed = client.post(INFER, content=png, headers={HEADER: "0", "Content-Encoding": "gzip"})
    assert_error(packed, 415)
    for path in ("/v2/models/nobody", "/v2/models/tiny/versions/9/ready", "/v2/no/such/path"):
        assert_error(client.get(path), 404)
    assert_error(client.get(INFER), 404)
    assert_error(client.post("/v2"), 404)
    assert_error(client.post("/v2/repository/models/tiny/unload"), 404)
    counted = client.get("/metrics").text
    assert 'spikeserve_requests_total{code="404",endpoint="/v2/models/{name}/infer"' in counted


def test_a_fault_of_our_own_shows_nothing_inside(
    client: TestClient, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(Classifier, "submit", broken)
    error = assert_error(client.post(INFER, content=png, headers={HEADER: "0"}), 500)
    assert "secret" not in error


def test_keys_and_rates_hold_here_too(bundle_folder: Path, images: Images) -> None:
    settings = Settings(
        bundles=(bundle_folder,),
        api_key_hashes=(key_hash("a-key"),),
        rate_limit_images_per_second=0.01,
        rate_burst_images=3,
    )
    with TestClient(create_app(settings)) as client:
        document = as_json(images[:2], "UINT8")
        for path in ("/v2", "/v2/models/tiny", "/v2/models/tiny/ready"):
            assert_error(client.get(path), 401)
        refused = client.post(INFER, json=document)
        assert_error(refused, 401)
        assert refused.headers["www-authenticate"] == "Bearer"
        for path in ("/v2/health/live", "/v2/health/ready"):
            assert client.get(path).status_code == 200
        client.headers["Authorization"] = "Bearer a-key"
        assert client.get("/v2").status_code == 200
        assert client.post(INFER, json=document).status_code == 200
        busy = client.post(INFER, json=document)
        assert_error(busy, 429)
        assert int(busy.headers["retry-after"]) > 1
        assert 'reason="rate_limited"} 1.0' in client.get("/metrics").text


def test_a_batch_that_never_fits(bundle_folder: Path, images: Images) -> None:
    settings = Settings(bundles=(bundle_folder,), slots=2, queue_timesteps=2)
    with TestClient(create_app(settings)) as client:
        full = client.post(INFER, json=as_json(images[:5], "UINT8"))
        assert_error(full, 422)
        assert "retry-after" not in full.headers
        one = as_json(images[:1], "UINT8")
        assert client.post(INFER, json=one).status_code == 200


def test_a_client_that_leaves_takes_all_its_rows_along(bundle_folder: Path, images: Images) -> None:
    app = create_app(Settings(bundles=(bundle_folder,), slots=1))
    body = json.dumps(as_json(images[:3], "UINT8")).encode()
    with TestClient(app) as client:
        worker, go = app.state.registry.get().worker, threading.Event()
        step, sent = worker.engine.step, list[Message]()

        def waits(frames: NDArray[Any], state: State) -> Step:
            go.wait()
            result: Step = step(frames, state)
            return result

        async def leave() -> None:
            arriving: list[Message] = [{"type": "http.request", "body": body}]

            async def receive() -> Message:
                while not (arriving or (worker.scheduler.running and worker.scheduler.waiting)):
                    await asyncio.sleep(0.001)
                return arriving.pop() if arriving else {"type": "http.disconnect"}

            async def send(message: Message) -> None:
                sent.append(message)

            scope = {"type": "http", "method": "POST", "path": INFER, "headers": []}
            await app(scope | {"query_string": b""}, receive, send)

        worker.engine.step = waits
        assert client.portal is not None
        client.portal.call(leave)
        assert not worker.scheduler.waiting
        go.set()
        assert not sent
        assert app.state.admission.inside == 0
        counted = client.get("/metrics").text
        assert 'cancelled_total{model="tiny",phase="queued",version="1"} 2.0' in counted
        assert 'cancelled_total{model="tiny",phase="running",version="1"} 1.0' in counted


def test_health_says_what_our_own_probes_say(bundle_folder: Path) -> None:
    app = create_app(Settings(bundles=(bundle_folder,)))
    before = TestClient(app)  # without a lifespan nothing runs
    for probe, same in (("live", "/livez"), ("ready", "/readyz")):
        answer, ours = before.get(f"/v2/health/{probe}"), before.get(same)
        assert_error(answer, 503)
        assert ours.status_code == 503
        assert answer.headers.get("retry-after") == ours.headers.get("retry-after")
    assert_error(before.get("/v2/models/tiny/ready"), 503)
    with TestClient(app) as client:
        assert client.get("/v2/health/live").json() == {"live": True}
        assert client.get("/v2/health/ready").json() == {"ready": True}
        assert client.get("/v2/models/tiny/ready").json() == {"name": "tiny", "ready": True}


def test_metadata(client: TestClient, bundle: Bundle) -> None:
    server = client.get("/v2").json()
    assert server["name"] == "spikeserve"
    assert {"binary_tensor_data", "spikeserve_early_exit"} <= set(server["extensions"])
    model = client.get("/v2/models/tiny").json()
    assert model == client.get("/v2/models/tiny/versions/1").json()
    assert (model["name"], model["versions"]) == ("tiny", ["1"])
    assert model["platform"] == "spikeserve_event"
    assert model["inputs"] == [
        {"name": "image", "datatype": "UINT8", "shape": [-1, *bundle.manifest.network.input_shape]}
    ]
    shapes = {output["name"]: output["shape"] for output in model["outputs"]}
    assert shapes == {name: [-1] for name in tensors.OUTPUTS} | {"probabilities": [-1, 10]}
    assert client.post("/v2/repository/index").json() == [
        {"name": "tiny", "version": "1", "state": "READY"}
    ]


def test_models_are_served_by_name(bundle_folder: Path, tmp_path: Path, images: Images) -> None:
    other = save_tiny_bundle(tmp_path / "other", "other", seed=1)
    with TestClient(create_app(Settings(bundles=(bundle_folder, other)))) as client:
        answer = client.post("/v2/models/other/infer", json=as_json(images[:3], "UINT8"))
        assert answer.json()["model_name"] == "other"
        assert outputs(answer) == expected(client, images[:3], "&model=other")


def test_the_public_client_of_triton(bundle_folder: Path, tmp_path: Path, images: Images) -> None:
    few = images[:3]
    files = np.array([encoded(one) for one in few], object)
    texts = np.array([base64.b64encode(file) for file in files], object)
    ways = [("UINT8", few, True), ("UINT8", few, False), ("BYTES", files, True)]
    with (
        running_service(bundle_folder, tmp_path / "log") as service,
        triton.InferenceServerClient(str(service.base_url).removeprefix("http://")) as client,
    ):
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("tiny")
        assert client.is_model_ready("tiny", "1")
        assert not client.is_model_ready("nobody")
        assert client.get_server_metadata()["name"] == "spikeserve"
        assert client.get_model_repository_index()[0]["name"] == "tiny"
        metadata = client.get_model_metadata("tiny")
        for datatype, content, binary_in in [*ways, ("BYTES", texts, False)]:
            image = triton.InferInput("image", list(content.shape), datatype)
            image.set_data_from_numpy(content, binary_data=binary_in)
            for binary_out in (True, False):
                result = client.infer(
                    "tiny",
                    [image],
                    request_id="7",
                    outputs=[
                        triton.InferRequestedOutput(output["name"], binary_data=binary_out)
                        for output in metadata["outputs"]
                    ],
                    parameters={"entropy_threshold": 0.0},
                )
                assert result.get_response()["id"] == "7"
                assert result.as_numpy("timesteps").tolist() == [TIMESTEPS] * 3
                assert (result.as_numpy("energy_pj") > 0).all()
                assert result.as_numpy("probabilities").shape == (3, len(LABELS))
                assert result.as_numpy("stop_reason").astype(str).tolist() == ["max_timesteps"] * 3
        image = triton.InferInput("image", [1, *IMAGE_SHAPE], "UINT8")
        image.set_data_from_numpy(few[:1])
        quick = client.infer("tiny", [image], parameters={"entropy_threshold": 1.0})
        assert quick.get_response()["parameters"]["timesteps_used"] == 1
        assert quick.get_response()["parameters"]["energy_pj"] == quick.as_numpy("energy_pj")[0]
        for algorithm in ("gzip", "deflate"):
            packed = client.infer("tiny", [image], request_compression_algorithm=algorithm)
            assert packed.as_numpy("label").shape == (1,)
        best = client.infer(
            "tiny", [image], outputs=[triton.InferRequestedOutput("probabilities", class_count=2)]
        ).as_numpy("probabilities")
        assert best[0, 0].decode().split(":")[2] in LABELS
        with pytest.raises(InferenceServerException, match="no model 'nobody'") as refusal:
            client.infer("nobody", [image])
        assert refusal.value.status() == "404"
        with pytest.raises(InferenceServerException, match="less than or equal to 1"):
            client.infer("tiny", [image], parameters={"entropy_threshold": 3.0})
