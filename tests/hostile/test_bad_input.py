"""Every bad input gets its own code and a clear message, and the service goes on."""

from __future__ import annotations

import base64

import httpx2
import pytest
from fastapi.testclient import TestClient

from tests.hostile.files import ACCEPTED, REFUSED

PARAMETERS = {
    "entropy_threshold=nan": 422,
    "entropy_threshold=inf": 422,
    "entropy_threshold=-1": 422,
    "entropy_threshold=2": 422,
    "entropy_threshold=abc": 422,
    "entropy_threshold=": 422,
    "max_timesteps=0": 422,
    "max_timesteps=5": 422,
    "max_timesteps=1.5": 422,
    "min_timesteps=3&max_timesteps=2": 422,
    "top_k=0": 422,
    "treshold=0.3": 422,
    "model=nobody": 404,
    "model=../../etc/passwd": 404,
}
JSON_BODIES = {
    b"{": 400,
    b"": 400,
    b"[]": 422,
    b'{"inputs": 3}': 422,
    b'{"inputs": "%%%"}': 400,
    b'{"inputs": "aGVsbG8="}': 415,
    b'{"inputs": "", "parameters": {"entropy_threshold": NaN}}': 422,
    b'{"inputs": "", "parameters": {"surprise": 1}}': 422,
    b'{"inputs": "\\ud800"}': 400,
    b"[" * 50_000: 400,
    '{"inputs": "é"}'.encode(): 400,
    b'{"inputs": [' + b"{}," * 250_000 + b"{}]}": 400,
    b'{"inputs": "", ' + b",".join(b'"%d": 1' % k for k in range(9999)) + b"}": 422,
}


def assert_problem(response: httpx2.Response, status: int) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == status
    assert len(document["detail"]) > 8
    assert document["request_id"] == response.headers["x-request-id"]


def assert_alive(client: TestClient, png: bytes) -> None:
    assert client.get("/livez").status_code == 200
    assert client.post("/classify", content=png).status_code == 200


@pytest.mark.parametrize("name", list(REFUSED))
def test_bad_image(client: TestClient, png: bytes, name: str) -> None:
    make, status = REFUSED[name]
    assert_problem(
        client.post("/classify", content=make(), headers={"Content-Type": "image/png"}), status
    )
    assert_alive(client, png)


@pytest.mark.parametrize("name", list(ACCEPTED))
def test_odd_but_good_image(client: TestClient, name: str) -> None:
    response = client.post("/classify", content=ACCEPTED[name]())
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("query", list(PARAMETERS))
def test_bad_parameter(client: TestClient, png: bytes, query: str) -> None:
    assert_problem(client.post(f"/classify?{query}", content=png), PARAMETERS[query])
    assert_alive(client, png)


@pytest.mark.parametrize("body", list(JSON_BODIES), ids=range(len(JSON_BODIES)))
def test_bad_json(client: TestClient, png: bytes, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    assert_problem(client.post("/classify", content=body, headers=headers), JSON_BODIES[body])
    assert_alive(client, png)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"no boundary"),
        ("multipart/form-data; boundary=x", b"--y\r\nnonsense"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b"--x--\r\n"),
        (
            "multipart/form-data; boundary=x; charset=undefined",
            b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\na\r\n--x--\r\n',
        ),
    ],
)
def test_bad_multipart(client: TestClient, png: bytes, content_type: str, body: bytes) -> None:
    assert_problem(
        client.post("/classify", content=body, headers={"Content-Type": content_type}), 400
    )
    assert_alive(client, png)


def test_multipart_without_the_file_field(client: TestClient, png: bytes) -> None:
    assert_problem(client.post("/classify", files={"photo": ("a.png", png)}), 400)
    assert_problem(client.post("/classify", data={"file": "text"}, files={}), 415)


def test_other_content_type(client: TestClient, png: bytes) -> None:
    headers = {"Content-Type": "text/html"}
    assert_problem(client.post("/classify", content=png, headers=headers), 415)


@pytest.mark.parametrize("kind", ["raw", "multipart", "json", "chunked"])
def test_body_over_the_limit(client: TestClient, png: bytes, kind: str) -> None:
    large = b"x" * (2 << 20)  # the fixture accepts 1 MiB
    chunks = (large[start : start + (1 << 16)] for start in range(0, len(large), 1 << 16))

    if kind == "raw":
        response = client.post("/classify", content=large)
    elif kind == "multipart":
        response = client.post("/classify", files={"file": ("a.png", large)})
    elif kind == "json":
        response = client.post("/classify", json={"inputs": base64.b64encode(large).decode()})
    else:
        response = client.post("/classify", content=chunks)
    assert_problem(response, 413)
    assert_alive(client, png)


def test_unknown_path_and_method(client: TestClient) -> None:
    assert_problem(client.get("/nowhere"), 404)
    assert_problem(client.get("/classify"), 405)
    assert_problem(client.get("/v1/models/nobody"), 404)


def test_metrics_in_a_version_nobody_knows(client: TestClient) -> None:
    response = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=x"})
    assert response.status_code == 200


def test_openapi_has_no_dangling_reference(client: TestClient) -> None:
    document = client.get("/openapi.json").json()

    def references(node: object) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [r for value in node.values() for r in references(value)]
        return [r for value in node for r in references(value)] if isinstance(node, list) else []

    for reference in references(document):
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
    responses = document["paths"]["/classify"]["post"]["responses"]
    assert list(responses["429"]["content"]) == ["application/problem+json"]
