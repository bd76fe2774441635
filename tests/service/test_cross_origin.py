"""Pages of other origins, proxies with a prefix, and what the OpenAPI document says of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from spikeserve.service.app import create_app
from spikeserve.service.keys import key_hash
from spikeserve.service.settings import Settings

HERE, ELSEWHERE = "https://pages.example", "https://evil.example"
ALLOW, EXPOSE = "access-control-allow-origin", "access-control-expose-headers"


def serving(folder: Path, **settings: Any) -> TestClient:
    chosen = Settings(bundles=(folder,), slots=2, **settings)
    return TestClient(create_app(chosen), raise_server_exceptions=False)


def preflight(client: TestClient, path: str, origin: str, headers: str = "") -> Any:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    if headers:
        asked["Access-Control-Request-Headers"] = headers
    return client.options(path, headers=asked)


def test_a_page_may_ask_before_it_calls(bundle_folder: Path) -> None:
    with serving(bundle_folder, cors_origins=(HERE,)) as client:
        for path in ("/classify", "/classify/stream", "/classify/batch", "/v2/models/tiny/infer"):
            answer = preflight(client, path, HERE, "authorization, content-type, x-request-id")
            assert answer.status_code == 200, answer.text
            assert answer.headers[ALLOW] == HERE
            assert "POST" in answer.headers["access-control-allow-methods"]
            assert answer.headers["x-request-id"]
        for origin, headers in ((ELSEWHERE, ""), (HERE, "x-anything")):
            answer = preflight(client, "/classify", origin, headers)
            assert answer.status_code == 400
            assert answer.json()["detail"].startswith("Disallowed CORS")
        assert ALLOW not in preflight(client, "/classify", ELSEWHERE).headers
        assert 'code="400",endpoint="other",model=""} 3.0' in client.get("/metrics").text


def test_answers_and_errors_can_be_read_by_the_page(
    bundle_folder: Path, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"cors_origins": (HERE,), "max_body_bytes": 5000, "api_key_hashes": (key_hash("k"),)}
    with serving(bundle_folder, rate_limit_images_per_second=1e-9, **settings) as client:
        page = {"Origin": HERE, "Authorization": "Bearer k"}

        def asked(content: bytes, **headers: str) -> int:
            answer = client.post("/classify", content=content, headers={**page, **headers})
            assert answer.headers[ALLOW] == HERE
            assert "Origin" in answer.headers["vary"]
            exposed = answer.headers[EXPOSE].lower()
            for name in ("x-request-id", "x-timesteps-used", "server-timing", "retry-after"):
                assert name in exposed
            return answer.status_code

        assert asked(png) == 200
        assert asked(png, Authorization="Bearer wrong") == 401
        assert asked(bytes(6000)) == 413
        assert asked(b"text") == 415
        while (status := asked(png)) == 200:  # the burst
            pass
        assert status == 429
        monkeypatch.setattr(client.app.state, "gate", None)  # type: ignore[attr-defined]
        assert asked(png) == 500
        foreign = client.post("/classify", content=png, headers={"Origin": ELSEWHERE})
        assert ALLOW not in foreign.headers
        assert client.get("/livez", headers={"Origin": HERE}).headers[ALLOW] == HERE


def test_all_origins_and_none(bundle_folder: Path, png: bytes) -> None:
    with serving(bundle_folder, cors_origins=("*",)) as client:
        for path in ("/classify", "/classify/stream"):
            answer = client.post(path, content=png, headers={"Origin": ELSEWHERE})
            assert answer.headers[ALLOW] == "*"
    with serving(bundle_folder) as client:
        answer = client.post("/classify", content=png, headers={"Origin": HERE})
        assert ALLOW not in answer.headers
        assert preflight(client, "/classify", HERE).status_code == 405


@pytest.mark.parametrize("text", ["example.org", "https://a.example/", "https://", "https://*.a"])
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="not an origin"):
        Settings(cors_origins=(text,))


def test_origins_are_separated_by_spaces_or_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKESERVE_CORS_ORIGINS", f"{HERE}, http://LOCALHOST:3000")
    assert Settings().cors_origins == (HERE, "http://localhost:3000")


@pytest.mark.parametrize("seen", ["/vision", ""])
def test_behind_a_proxy_that_strips_its_prefix_or_does_not(
    seen: str, bundle_folder: Path, png: bytes
) -> None:
    """``seen`` is what the proxy leaves of the prefix."""
    with serving(bundle_folder, root_path="/vision/") as client:
        assert client.get(f"{seen}/docs/start.js").status_code == 200
        document = client.get(f"{seen}/openapi.json").json()
        assert document["servers"] == [{"url": "/vision"}]
        for path in ("/livez", "/readyz", "/metrics", "/v1/models", "/v2/health/live"):
            assert client.get(seen + path).status_code == 200, path
        for path in ("/classify", "/classify/stream"):
            assert client.post(seen + path, content=png).status_code == 200
        assert 'endpoint="/classify",model="tiny"} 1.0' in client.get("/metrics").text
        answer = client.get(f"{seen}/v1/models/?a=b", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (307, "/vision/v1/models?a=b")
        assert client.get(f"{seen}/nothing").status_code == 404
        assert client.get("/visionary/livez").status_code == 404


@pytest.mark.parametrize(
    "path", ["vision", "/a b", "/a?b", "//a", "/v1", "/v2", "/v2/models", "/classify/"]
)
def test_what_is_no_prefix_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="root_path"):
        Settings(root_path=path)


def test_a_slash_too_many_is_told_by_path_alone(bundle_folder: Path, png: bytes) -> None:
    with serving(bundle_folder) as client:
        answer = client.post("/classify/?top_k=2", content=png, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (307, "/classify?top_k=2")
        assert client.post("/classify/", content=png).status_code == 200  # followed
        for path in ("http://testserver//evil.example/", "/nothing/"):
            assert client.get(path, follow_redirects=False).status_code == 404


def test_unknown_methods_say_which_are_known(bundle_folder: Path) -> None:
    with serving(bundle_folder) as client:
        for path in ("/classify", "/classify/batch", "/classify/stream"):
            for method in ("GET", "OPTIONS", "DELETE"):
                answer = client.request(method, path)
                assert (answer.status_code, answer.headers["allow"]) == (405, "POST"), path
                assert answer.headers["x-request-id"]
        assert client.post("/livez").status_code == 405
        assert client.put("/v2/nothing").status_code == 404


def test_the_document_says_who_needs_which_key(bundle_folder: Path) -> None:
    def needs(client: TestClient) -> dict[str, list[Any]]:
        paths = client.get("/openapi.json").json()["paths"]
        return {
            path: operation["security"]
            for path, operations in paths.items()
            for operation in operations.values()
            if "security" in operation
        }

    with serving(bundle_folder) as client:
        assert needs(client) == {}
    keys = {"api_key_hashes": (key_hash("k"),), "admin_key_hash": key_hash("a")}
    with serving(bundle_folder, **keys) as client:
        found = needs(client)
        assert found["/classify"] == found["/v2/models/{name}/infer"] == [{"ApiKey": []}]
        assert found["/v1/admin/reload"] == [{"AdminKey": []}]
        assert not {"/livez", "/readyz", "/metrics", "/v2/health/live"} & found.keys()
        for path in found:  # and it is true
            url = path.format(name="tiny")
            assert 401 in {client.post(url).status_code, client.get(url).status_code}
        schemes = client.get("/openapi.json").json()["components"]["securitySchemes"]
        assert {scheme["scheme"] for scheme in schemes.values()} == {"bearer"}
    with serving(bundle_folder, admin_key_hash=key_hash("a")) as client:
        assert list(needs(client)) == ["/v1/admin/reload"]
