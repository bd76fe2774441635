"""``GET /``: the page and its files, as browsers, proxies and attackers ask for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from spikeserve.service.app import create_app
from spikeserve.service.http.files import MEDIA_TYPES, File
from spikeserve.service.keys import key_hash
from spikeserve.service.routes.page import BASE, FILES, FOLDER, INDEX, base_url
from spikeserve.service.settings import Settings

PATHS = ("/", "/page/style.css", "/page/app.js")
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
}


def made(folder: Path, **settings: Any) -> FastAPI:
    return create_app(Settings(bundles=(folder,), slots=2, **settings))


def test_the_page_and_all_of_its_files_are_served(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.content == INDEX.body
    for name in FILES:
        answer = client.get(f"/page/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == TYPES[Path(name).suffix], name
        assert answer.content == (FOLDER / name).read_bytes()
    files = (path for path in FOLDER.rglob("*") if path.is_file() and path.suffix != ".md")
    missing = {path.relative_to(FOLDER).as_posix() for path in files} - {*FILES, "index.html"}
    assert not missing, "of kinds that are not served"


@pytest.mark.parametrize("path", PATHS)
def test_nothing_but_this_origin_may_be_loaded(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"].split("; ")
    assert policy[0] == "default-src 'self'"
    assert "frame-ancestors 'self'" in policy
    for source in ("unsafe", "http", "data:", "blob:", "*", "script-src", "style-src"):
        assert source not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["permissions-policy"] == "camera=(self)"
    assert headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", PATHS)
def test_who_has_it_already_is_not_sent_it_again(client: TestClient, path: str) -> None:
    tag = client.get(path).headers["etag"]
    for said in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        answer = client.get(path, headers={"If-None-Match": said})
        assert (answer.status_code, answer.content) == (304, b""), said
        assert answer.headers["etag"] == tag
        assert answer.headers["cache-control"] == "no-cache"
        assert "content-security-policy" in answer.headers
    assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.0, br", False),
        ("", False),
    ],
)
def test_texts_go_out_compressed_to_whoever_takes_that(
    client: TestClient, accepted: str, packed: bool
) -> None:
    plain = client.get("/", headers={"Accept-Encoding": "identity"})
    answer = client.get("/", headers={"Accept-Encoding": accepted})
    assert answer.content == plain.content  # the client has unpacked it
    assert answer.headers["vary"] == "Accept-Encoding"
    assert (answer.headers.get("content-encoding") == "gzip") == packed
    assert (int(answer.headers["content-length"]) < len(plain.content)) == packed


def test_the_page_is_small() -> None:
    """Its own words, and all that a first visit brings, over the wire."""
    words = [path for path in FOLDER.iterdir() if path.suffix in (".html", ".css", ".js")]
    assert sum(path.stat().st_size for path in words) < 100_000
    brought = [path for path in FOLDER.rglob("*") if path.suffix in MEDIA_TYPES]
    files = [File(path.read_bytes(), MEDIA_TYPES[path.suffix]) for path in brought]
    assert sum(len(file.packed or file.body) for file in files) < 75_000


@pytest.mark.parametrize("path", PATHS)
def test_methods_and_queries(client: TestClient, path: str) -> None:
    page = client.get(path)
    head = client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == page.headers["content-length"]
    assert head.headers["etag"] == page.headers["etag"]
    answer = client.post(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    for query in ("?utm_source=mail", "?a=1&a=2", "?%00", "?fbclid"):
        assert client.get(path + query).content == page.content


def test_it_asks_for_no_key_and_is_never_limited(bundle_folder: Path, png: bytes) -> None:
    settings = {"api_key_hashes": (key_hash("k"),), "rate_limit_images_per_second": 1e-9}
    with TestClient(made(bundle_folder, rate_burst_images=1, **settings)) as client:
        assert client.post("/classify", content=png).status_code == 401
        for _ in range(20):
            assert {client.get(path).status_code for path in PATHS} == {200}


def test_it_can_be_switched_off(bundle_folder: Path) -> None:
    with TestClient(made(bundle_folder, page="off")) as client:
        for path in (*PATHS, "/page", "/page/"):
            assert client.get(path, follow_redirects=False).status_code == 404
        assert client.get("/docs").status_code == 200


def test_it_is_no_part_of_the_api(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert not [path for path in paths if path == "/" or path.startswith("/page")]


def test_all_urls_of_the_page_are_relative() -> None:
    assert INDEX.body.count(BASE) == 1
    assert b'="/' not in INDEX.body.replace(BASE, b"")
    for name, file in FILES.items():
        if name.endswith(".css"):
            assert b"url(/" not in file.body.replace(b'"', b""), name


@pytest.mark.parametrize("seen", ["/vision", ""])
def test_behind_a_proxy_that_strips_its_prefix_or_does_not(bundle_folder: Path, seen: str) -> None:
    with TestClient(made(bundle_folder, root_path="/vision")) as client:
        page = client.get(f"{seen}/")
        assert b'<base href="/vision/">' in page.content
        assert BASE not in page.content
        assert client.get(f"{seen}/page/style.css").status_code == 200
        again = client.get(f"{seen}/", headers={"If-None-Match": page.headers["etag"]})
        assert again.status_code == 304


def test_who_leaves_the_last_slash_out_is_told(bundle_folder: Path) -> None:
    with TestClient(made(bundle_folder, root_path="/vision")) as client:
        answer = client.get("/vision?a=b", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (307, "/vision/?a=b")


@pytest.mark.parametrize("prefix", ["/vision", "/a/b"])
def test_mounted_in_another_application(bundle_folder: Path, prefix: str) -> None:
    service = made(bundle_folder)
    outer = FastAPI()
    outer.mount(prefix, service)
    client = TestClient(outer)  # the page needs no lifespan
    assert f'<base href="{prefix}/">'.encode() in client.get(f"{prefix}/").content
    assert client.get(prefix).url.path == f"{prefix}/"  # the outer one's redirect
    assert client.get(f"{prefix}/page/style.css").status_code == 200
    assert client.get("/").status_code == client.get("/page/style.css").status_code == 404


@pytest.mark.parametrize(
    ("root_path", "base"),
    [
        ("", "/"), ("/vision", "/vision/"), ("/a/b/", "/a/b/"),
        ("//evil.example", "/evil.example/"), ('/"><script>', "/%22%3E%3Cscript%3E/"),
        ("/ü?#&", "/%C3%BC%3F%23%26/"),
    ],
)  # fmt: skip
def test_a_prefix_is_a_path_of_this_host_whatever_it_holds(root_path: str, base: str) -> None:
    assert base_url(root_path) == base
