"""Requests of the Open Inference Protocol by hand, and what their answers say."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Sequence
from typing import Any

import httpx2
import numpy as np
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from tests.conftest import encoded
from tests.programs import IMAGE_SHAPE, LABELS

Images = NDArray[np.uint8]

INFER = "/v2/models/tiny/infer"
HEADER = "Inference-Header-Content-Length"
PIXELS = int(np.prod(IMAGE_SHAPE))
SMALL = np.zeros((1, *IMAGE_SHAPE), np.uint8)
TYPES = {"FP64": "<f8", "INT64": "<i8", "INT32": "<i4"}


def framed(elements: Sequence[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def as_json(images: Images, datatype: str, **more: Any) -> dict[str, Any]:
    """A request with everything in its JSON."""
    image: dict[str, Any] = {"name": "image", "datatype": datatype}
    if datatype == "BYTES":
        files = [base64.b64encode(encoded(one)).decode() for one in images]
        image |= {"shape": [len(images)], "data": files}
    else:
        image |= {"shape": list(images.shape), "data": images.tolist()}
    return {"inputs": [image], **more}


def post_binary(
    client: TestClient, document: dict[str, Any], behind: bytes, header: str | None = None
) -> httpx2.Response:
    start = json.dumps(document).encode()
    headers = {HEADER: str(len(start)) if header is None else header}
    return client.post(INFER, content=start + behind, headers=headers)


def as_binary(images: Images, datatype: str, **more: Any) -> tuple[dict[str, Any], bytes]:
    """A request's JSON and the bytes that follow it."""
    document = as_json(images, datatype, **more)
    files = [encoded(one) for one in images]
    behind = framed(files) if datatype == "BYTES" else images.tobytes()
    del document["inputs"][0]["data"]
    document["inputs"][0]["parameters"] = {"binary_data_size": len(behind)}
    return document, behind


def outputs(response: httpx2.Response) -> dict[str, list[Any]]:
    """All outputs by name, from JSON or bytes, checked against their shapes and sizes."""
    assert response.status_code == 200, response.text
    end = int(response.headers.get(HEADER, len(response.content)))
    document, behind = json.loads(response.content[:end]), response.content[end:]
    found = {}
    for output in document["outputs"]:
        shape, datatype = output["shape"], output["datatype"]
        if "data" in output:
            values = output["data"]
        else:
            size = output["parameters"]["binary_data_size"]
            part, behind = behind[:size], behind[size:]
            values = strings(part) if datatype == "BYTES" else np.frombuffer(part, TYPES[datatype])
        found[output["name"]] = np.array(values).reshape(shape).tolist()
    assert not behind
    return found


def strings(data: bytes) -> list[str]:
    found = []
    while data:
        end = 4 + int.from_bytes(data[:4], "little")
        found.append(data[4:end].decode())
        data = data[end:]
    return found


def expected(client: TestClient, images: Images, query: str = "") -> dict[str, list[Any]]:
    """The same from ``POST /classify``."""
    answers = [
        client.post(f"/classify?top_k={len(LABELS)}{query}", content=encoded(one)).json()
        for one in images
    ]
    return {
        "probabilities": [
            [one["probability"] for one in sorted(a["top_k"], key=lambda one: one["index"])]
            for a in answers
        ],
        "class": [a["prediction"]["index"] for a in answers],
        "label": [a["prediction"]["label"] for a in answers],
        "timesteps": [a["timesteps_used"] for a in answers],
        "entropy": [a["entropy"] for a in answers],
        "entropy_threshold": [a["entropy_threshold"] for a in answers],
        "energy_pj": [a["energy"]["total_pj"] for a in answers],
        "stop_reason": [a["stop_reason"] for a in answers],
    }


def assert_error(response: httpx2.Response, status: int) -> str:
    assert response.status_code == status, response.text
    document = response.json()
    assert set(document) == {"error"}
    assert len(document["error"]) > 8
    assert response.headers["x-request-id"]
    error: str = document["error"]
    return error
