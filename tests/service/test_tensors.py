"""Inputs of the Open Inference Protocol that do not fit: refused before they cost anything."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.conftest import encoded
from tests.programs import IMAGE_SHAPE, TIMESTEPS
from tests.service.openinference import (
    HEADER,
    INFER,
    PIXELS,
    SMALL,
    as_binary,
    as_json,
    assert_error,
    framed,
    post_binary,
)

BAD_INPUTS: dict[str, dict[str, Any]] = {
    "another name": {"name": "input0"},
    "another datatype": {"datatype": "FP32"},
    "no shape": {"shape": None},
    "an empty shape": {"shape": []},
    "a boolean dimension": {"shape": [True, *IMAGE_SHAPE]},
    "a float dimension": {"shape": [1.0, *IMAGE_SHAPE]},
    "a negative dimension": {"shape": [-1, *IMAGE_SHAPE]},
    "no image": {"shape": [0, *IMAGE_SHAPE]},
    "too many images": {"shape": [65, *IMAGE_SHAPE]},
    "absurdly many images": {"shape": [2**80, *IMAGE_SHAPE]},
    "more images than data": {"shape": [2, *IMAGE_SHAPE]},
    "another size": {"shape": [1, 16, 16, 1]},
    "two dimensions": {"shape": [16, 48]},
    "five dimensions": {"shape": [1, 1, *IMAGE_SHAPE]},
    "pixels as BYTES": {"datatype": "BYTES"},
    "no data": {"data": None},
    "empty data": {"data": []},
    "data of another kind": {"data": "AAAA"},
    "a value short": {"data": [0] * (PIXELS - 1)},
    "a value too many": {"data": [0] * (PIXELS + 1)},
    "a negative value": {"data": [0] * (PIXELS - 1) + [-1]},
    "a value past a byte": {"data": [0] * (PIXELS - 1) + [256]},
    "a huge value": {"data": [0] * (PIXELS - 1) + [10**40]},
    "a float value": {"data": [0] * (PIXELS - 1) + [1.0]},
    "a boolean value": {"data": [0] * (PIXELS - 1) + [True]},
    "no value": {"data": [0] * (PIXELS - 1) + [None]},
    "ragged rows": {"data": [[[[0] * 3] * 16] * 15 + [[[0] * 3] * 15]]},
    "nested in part": {"data": [[[[0] * 3] * 16] * 15 + [0]]},
    "a list at the bottom": {"data": [[[[[0]] * 3] * 16] * 16]},
    "too many files": {"datatype": "BYTES", "shape": [65], "data": ["AAAA"] * 65},
    "fewer files than told": {"datatype": "BYTES", "shape": [2], "data": ["AAAA"]},
    "a number for a file": {"datatype": "BYTES", "shape": [1], "data": [1]},
    "a file that is not base64": {"datatype": "BYTES", "shape": [1], "data": ["%%%"]},
    "shared memory": {"parameters": {"shared_memory_region": "x", "shared_memory_byte_size": 1}},
    "an unknown field": {"surprise": 1},
    "both data and bytes": {"parameters": {"binary_data_size": PIXELS}},
}


@pytest.mark.parametrize("change", list(BAD_INPUTS.values()), ids=list(BAD_INPUTS))
def test_an_input_that_does_not_fit_together(
    client: TestClient, png: bytes, change: dict[str, Any]
) -> None:
    document = as_json(SMALL, "UINT8")
    document["inputs"][0] |= change
    assert_error(client.post(INFER, json=document), 400)
    assert client.post(INFER, content=png, headers={HEADER: "0"}).status_code == 200


BAD_REQUESTS: dict[str, tuple[dict[str, Any], int]] = {
    "no input": ({"inputs": []}, 400),
    "two inputs": ({"inputs": as_json(SMALL, "UINT8")["inputs"] * 2}, 400),
    "an input that is none": ({"inputs": ["image"]}, 400),
    "an id that is a number": ({"id": 3}, 400),
    "an unknown field": ({"surprise": 1}, 400),
    "another model": ({"model_name": "other"}, 400),
    "an unknown output": ({"outputs": [{"name": "logits"}]}, 400),
    "an output twice": ({"outputs": [{"name": "label"}, {"name": "label"}]}, 400),
    "too many outputs": ({"outputs": [{"name": "label"}] * 99}, 400),
    "an output with a surprise": (
        {"outputs": [{"name": "label", "parameters": {"shared_memory_region": "x"}}]},
        400,
    ),
    "binary_data that is a number": (
        {"outputs": [{"name": "label", "parameters": {"binary_data": 1}}]},
        400,
    ),
    "a classification of labels": (
        {"outputs": [{"name": "label", "parameters": {"classification": 1}}]},
        400,
    ),
    "more classes than there are": (
        {"outputs": [{"name": "probabilities", "parameters": {"classification": 11}}]},
        400,
    ),
    "no class": (
        {"outputs": [{"name": "probabilities", "parameters": {"classification": 0}}]},
        400,
    ),
    "binary_data_output that is a number": ({"parameters": {"binary_data_output": 1}}, 400),
    "an unknown parameter": ({"parameters": {"treshold": 0.3}}, 422),
    "a parameter out of range": ({"parameters": {"entropy_threshold": 2}}, 422),
    "more timesteps than there are": ({"parameters": {"max_timesteps": TIMESTEPS + 1}}, 422),
    "the model as a parameter": ({"parameters": {"model": "tiny"}}, 422),
    "top_k": ({"parameters": {"top_k": 3}}, 422),
    "a sequence": ({"parameters": {"sequence_id": 1, "sequence_start": True}}, 422),
    "a timeout of Triton's": ({"parameters": {"timeout": 1000}}, 422),
    "an accuracy out of reach": ({"parameters": {"target_accuracy": 0.99}}, 409),
    "no time at all": ({"parameters": {"deadline_ms": 1e-9}}, 504),
}


@pytest.mark.parametrize(("change", "status"), list(BAD_REQUESTS.values()), ids=list(BAD_REQUESTS))
def test_a_request_that_is_wrong(client: TestClient, change: dict[str, Any], status: int) -> None:
    assert_error(client.post(INFER, json=as_json(SMALL, "UINT8") | change), status)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b"[" * 50_000, b"\xff"])
def test_a_body_that_is_no_request(client: TestClient, body: bytes) -> None:
    assert_error(client.post(INFER, content=body), 400)


FILE = encoded(SMALL[0])
BAD_BYTES = {
    "nothing": b"",
    "half a length": b"\1\0",
    "a length past the end": struct.pack("<I", len(FILE) + 1) + FILE,
    "the greatest length": b"\xff\xff\xff\xff" + FILE,
    "one image, then half a length": framed([FILE]) + b"\0",
    "a second image nobody announced": framed([FILE, FILE]),
}


@pytest.mark.parametrize("behind", list(BAD_BYTES.values()), ids=list(BAD_BYTES))
def test_binary_elements_that_do_not_fit(client: TestClient, behind: bytes) -> None:
    document, _ = as_binary(SMALL, "BYTES")
    document["inputs"][0]["parameters"]["binary_data_size"] = len(behind)
    assert_error(post_binary(client, document, behind), 400)


@pytest.mark.parametrize(
    "size", [None, True, 1.0, -1, 0, PIXELS - 1, PIXELS + 1, 2**63, "768", [PIXELS]]
)
def test_a_binary_size_that_is_not_there(client: TestClient, size: Any) -> None:
    document, behind = as_binary(SMALL, "UINT8")
    document["inputs"][0]["parameters"] = {"binary_data_size": size}
    assert_error(post_binary(client, document, behind), 400)


@pytest.mark.parametrize("behind", [PIXELS - 1, PIXELS + 1])
def test_binary_pixels_that_do_not_fit_the_shape(client: TestClient, behind: int) -> None:
    document, _ = as_binary(SMALL, "UINT8")
    document["inputs"][0]["parameters"] = {"binary_data_size": behind}
    assert_error(post_binary(client, document, bytes(behind)), 400)


@pytest.mark.parametrize("header", ["", "-1", "+9", "1_0", "1e2", "x", "1", "99999", "9" * 5000])
def test_a_header_length_that_is_not_the_jsons(client: TestClient, header: str) -> None:
    assert_error(post_binary(client, *as_binary(SMALL, "UINT8"), header=header), 400)


def test_binary_data_without_the_header(client: TestClient) -> None:
    document, behind = as_binary(SMALL, "UINT8")
    assert_error(client.post(INFER, content=json.dumps(document).encode() + behind), 400)
    error = assert_error(client.post(INFER, json=document), 400)
    assert HEADER in error
