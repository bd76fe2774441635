"""``GET /docs``: Swagger UI, without a network and below any prefix."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi import Depends, FastAPI, HTTPException
from fastapi.testclient import TestClient

from spikeserve.service.app import create_app
from spikeserve.service.routes.docs import FOLDER
from spikeserve.service.settings import Settings


def loaded(client: TestClient, page: str) -> list[str]:
    """The URLs that a page loads, as a browser resolves them."""
    answer = client.get(page)
    assert answer.status_code == 200
    found = re.findall(r'(?:src|href)="(?!data:)([^"]+)"', answer.text)
    return [answer.url.join(url).path for url in found]


@pytest.mark.parametrize("prefix", ["", "/vision"])
def test_all_it_loads_comes_from_here(bundle_folder: Path, prefix: str) -> None:
    settings = Settings(bundles=(bundle_folder,), slots=2, root_path=prefix)
    with TestClient(create_app(settings)) as client:
        files = loaded(client, f"{prefix}/docs?utm_source=mail")
        assert {Path(file).suffix for file in files} == {".css", ".js"}
        for file in files:
            answer = client.get(file)
            assert answer.status_code == 200
            assert file.startswith(f"{prefix}/docs/")
            assert answer.content == (FOLDER / Path(file).name).read_bytes()
        start = client.get(f"{prefix}/docs/start.js").text
        (document,) = re.findall(r'url: "(.*)"', start)
        assert client.get(f"{prefix}/{document}").json()["openapi"]


def test_nothing_inline_and_nobody_elsewhere(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=", page.text)
    for path in ("/docs", "/docs/start.js", "/docs/swagger-ui.css"):
        answer = client.get(path)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'self'; img-src 'self' data:; ")
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        again = client.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304


def test_methods_and_what_is_not_there(client: TestClient) -> None:
    head = client.head("/docs/swagger-ui-bundle.js")
    assert (head.status_code, head.content) == (200, b"")
    assert set(client.post("/docs").headers["allow"].split(", ")) == {"GET", "HEAD"}
    for path in ("/docs/README.md", "/docs/index.html", "/docs/..%2fapp.py", "/redoc"):
        assert client.get(path).status_code == 404
    answer = client.get("/docs/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "/docs")


def test_in_another_application_it_is_as_open_as_the_document(bundle_folder: Path) -> None:
    def refuse() -> None:
        raise HTTPException(403)

    service = create_app(Settings(bundles=(bundle_folder,), slots=2))
    service.router.dependencies.append(Depends(refuse))
    outer = FastAPI()
    outer.mount("/vision", service)
    client = TestClient(outer)
    assert client.get("/vision/v1/models").status_code == 403
    for path in ("/vision/openapi.json", *loaded(client, "/vision/docs")):
        assert client.get(path).status_code == 200
