"""Query strings: on every route a parameter is used, or refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from spikeserve.service.app import create_app
from spikeserve.service.keys import key_hash
from spikeserve.service.settings import Settings
from spikeserve.service.worker import Worker
from tests.service.openinference import INFER, SMALL, as_json

ROUTES = [
    ("POST", "/classify"),
    ("POST", "/classify/stream"),
    ("POST", "/classify/batch"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/tiny"),
    ("GET", "/v1/models/tiny/calibration"),
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/healthz"),
    ("GET", "/metrics"),
    ("GET", "/v2"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
    ("POST", "/v2/repository/index"),
    ("GET", "/v2/models/tiny"),
    ("GET", "/v2/models/tiny/versions/1"),
    ("GET", "/v2/models/tiny/ready"),
    ("POST", INFER),
    ("POST", "/v2/models/tiny/versions/1/infer"),
    ("POST", "/v1/admin/reload"),
]


@pytest.fixture(scope="module")
def client(bundle_folder: Path) -> Iterator[TestClient]:
    settings = Settings(bundles=(bundle_folder,), slots=4, admin_key_hash=key_hash("operator"))
    with TestClient(create_app(settings)) as client:
        client.headers["Authorization"] = "Bearer operator"
        yield client


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    ("query", "named"),
    [("treshold=0.3", "'treshold'"), ("=3", "''"), ("version=1&x", "'x'"), ("a=1&a=1", "'a'")],
)
def test_what_is_not_read_is_refused_by_name(
    client: TestClient, png: bytes, method: str, path: str, query: str, named: str
) -> None:
    body = png if path.startswith("/classify") else b""
    refused = client.request(method, f"{path}?{query}", content=body)
    assert refused.status_code == 422, refused.text
    assert named in refused.text or (named == "'x'" and "'version'" in refused.text)
    assert refused.headers["x-request-id"]
    kind = "json" if path.startswith("/v2") else "problem+json"
    assert refused.headers["content-type"] == f"application/{kind}"


def test_the_protocols_parameters_go_into_its_document(client: TestClient) -> None:
    refused = client.post(f"{INFER}?top_k=3", json=as_json(SMALL, "UINT8"))
    assert (refused.status_code, "'top_k'" in refused.json()["error"]) == (422, True)


@pytest.mark.parametrize(
    "query", ["top_k=1&top_k=2", "top_k=2&energy=off&top_k=2", "version=1&version=9"]
)
def test_a_parameter_is_given_once(client: TestClient, png: bytes, query: str) -> None:
    name = query.partition("=")[0]
    refused = client.post(f"/classify?{query}", content=png)
    assert (refused.status_code, repr(name) in refused.json()["detail"]) == (422, True)


def test_models_are_still_found_by_version(client: TestClient) -> None:
    for path in ("/v1/models/tiny", "/v1/models/tiny/calibration"):
        assert client.get(f"{path}?version=1").status_code == 200
        assert client.get(f"{path}?version=9").status_code == 404
        refused = client.get(f"{path}?version=9&version=1")
        assert (refused.status_code, "'version'" in refused.json()["detail"]) == (422, True)


@pytest.mark.parametrize("path", ["/v1/admin/reload", "/v2/repository/index"])
def test_documents_of_routes_that_need_none(client: TestClient, path: str) -> None:
    for body in (b"", b" ", b"{}"):
        assert client.post(path, content=body).status_code == 200
    for body, status in (
        (b'{"bundle": "x"}', 422),
        (b'{"ready": 1}', 422),
        (b"[]", 422),
        (b"reload", 400),
        (b'{"ready": true, "ready": false}', 400),
        (b" " * (1 << 17), 413),
    ):
        assert client.post(path, content=body).status_code == status, body


def test_the_index_can_be_asked_for_what_is_ready(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def index(**document: bool) -> int:
        return len(client.post("/v2/repository/index", json=document).json())

    assert (index(), index(ready=True), index(ready=False)) == (1, 1, 1)
    monkeypatch.setattr(Worker, "healthy", False)
    assert (index(), index(ready=True), index(ready=False)) == (1, 0, 1)
