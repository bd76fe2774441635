"""Compressed bodies: undone on every way in, bounded by what they become."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from tests.service.openinference import INFER, SMALL, as_json, outputs
from tests.service.test_forms import FILE, FORM, form, head

LIMIT = 1 << 20  # of the fixture's service
CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "X-GZip": gzip.compress,
    "deflate": zlib.compress,
    "identity": bytes,
    "": bytes,
}


@pytest.mark.parametrize("coding", CODINGS)
def test_every_way_in_takes_compressed_bodies(client: TestClient, png: bytes, coding: str) -> None:
    document = {"inputs": base64.b64encode(png).decode()}
    ways = [
        ("/classify", png, "image/png"),
        ("/classify", form((head(FILE), png)), FORM),
        ("/classify", json.dumps(document).encode(), "application/json"),
        ("/classify/stream", png, "image/png"),
        ("/classify/batch", form((head(FILE), png)), FORM),
        ("/classify/batch", json.dumps({"items": [document]}).encode(), "application/json"),
        (INFER, json.dumps(as_json(SMALL, "UINT8")).encode(), "application/json"),
        ("/v2/repository/index", b'{"ready": true}', "application/json"),
    ]
    for path, body, kind in ways:
        headers = {"Content-Type": kind, "Content-Encoding": coding}
        response = client.post(path, content=CODINGS[coding](body), headers=headers)
        assert response.status_code == 200, (path, response.text)


def test_binary_tensors_behind_a_compressed_json(client: TestClient, png: bytes) -> None:
    headers = {"Content-Encoding": "gzip", "Inference-Header-Content-Length": "0"}
    assert outputs(client.post(INFER, content=gzip.compress(png), headers=headers))


STREAM = gzip.compress(b"some" * 999)
REFUSED: dict[str, tuple[str, bytes, int, str]] = {
    "brotli": ("br", b"", 415, "'br'"),
    "unknown": ("*", b"", 415, "'*'"),
    "twice": ("gzip, gzip", gzip.compress(STREAM), 415, "'gzip, gzip'"),
    "two ways": ("deflate,gzip", b"", 415, "'deflate, gzip'"),
    "not gzip at all": ("gzip", b"plain", 415, "gzip"),
    "raw deflate": ("deflate", zlib.compress(b"x")[2:-4], 415, "deflate"),
    "empty": ("gzip", b"", 400, "cut off"),
    "cut off": ("gzip", STREAM[:-1], 400, "cut off"),
    "damaged": ("gzip", STREAM[:20] + b"\xff" * 20 + STREAM[40:], 400, "damaged"),
    "a wrong sum": ("gzip", STREAM[:-8] + bytes(8), 400, "damaged"),
    "something behind": ("gzip", STREAM + b"x", 400, "follow"),
    "a second one behind": ("gzip", STREAM * 2, 400, "follow"),
    "too large inside": ("gzip", gzip.compress(bytes(LIMIT + 1)), 413, str(LIMIT)),
    "far too large": ("deflate", zlib.compress(bytes(500 << 20), 1), 413, str(LIMIT)),
}


@pytest.mark.parametrize(("coding", "body", "status", "named"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_undone(
    client: TestClient, coding: str, body: bytes, status: int, named: str
) -> None:
    headers = {"Content-Encoding": coding}
    for path, error in (("/classify", "detail"), ("/classify/stream", "detail"), (INFER, "error")):
        response = client.post(path, content=body, headers=headers)
        assert response.status_code == status, response.text
        assert named in response.json()[error]
        accepted = "gzip, deflate" if named.startswith("'") else None
        assert response.headers.get("accept-encoding") == accepted


def test_the_largest_body_that_is_allowed(client: TestClient) -> None:
    packed = gzip.compress(bytes(LIMIT))
    response = client.post("/classify", content=packed, headers={"Content-Encoding": "gzip"})
    assert (response.status_code, "not a JPEG" in response.text) == (415, True)
