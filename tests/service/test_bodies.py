"""JSON bodies: what real clients send is read, and nothing they say is dropped or bent."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.service.openinference import INFER, SMALL, as_json, outputs

JSON = {"Content-Type": "application/json"}


def in_lines(image: bytes) -> str:
    return base64.encodebytes(image).decode()


SPELLINGS = {
    "plain": lambda image: base64.b64encode(image).decode(),
    "in lines": in_lines,
    "in lines of Windows": lambda image: in_lines(image).replace("\n", "\r\n"),
    "indented": lambda image: in_lines(image).replace("\n", "\n\t  "),
    "for URLs": lambda image: base64.urlsafe_b64encode(image).decode(),
    "without its padding": lambda image: base64.b64encode(image).decode().rstrip("="),
    "a data URI": lambda image: "data:image/png;base64," + base64.b64encode(image).decode(),
    "a data URI of nothing": lambda image: "data:;base64," + base64.b64encode(image).decode(),
    "a data URI in lines": lambda image: "DATA:image/png;name=a.png;BASE64,\n" + in_lines(image),
}


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
def test_base64_as_real_clients_write_it(client: TestClient, png: bytes, spell: Any) -> None:
    for length in range(3):  # one with each padding; bytes behind a PNG's end are nobody's
        text = spell(png + b"\xff" * length)
        document = {"inputs": text}
        alone = client.post("/classify", json=document)
        assert alone.status_code == 200, alone.text
        batch = client.post("/classify/batch", json={"items": [document]}).json()
        assert batch["results"][0]["status"] == 200
        image = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [text]}
        assert outputs(client.post(INFER, json={"inputs": [image]}))


@pytest.mark.parametrize(
    "text",
    ["data:image/png,%89PNG", "data:image/png;base64", "aGk=aGk=", "aGk!", "a", "aGk=\u00a0"],
)
def test_what_is_not_base64(client: TestClient, text: str) -> None:
    refused = client.post("/classify", json={"inputs": text})
    assert (refused.status_code, "base64" in refused.json()["detail"]) == (400, True)


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=UTF-8", "application/json;v=1"]
)
def test_a_mark_in_front_of_the_json(client: TestClient, png: bytes, kind: str) -> None:
    document = {"inputs": base64.b64encode(png).decode()}
    for path, body in (("/classify", document), ("/classify/batch", {"items": [document]})):
        content = json.dumps(body).encode("utf-8-sig")
        answer = client.post(path, content=content, headers={"Content-Type": kind})
        assert answer.status_code == 200, answer.text
    content = json.dumps(as_json(SMALL, "UINT8")).encode("utf-8-sig")
    assert client.post(INFER, content=content).status_code == 200


@pytest.mark.parametrize("kind", ["text/json", "application/vnd.api+json", "text/plain"])
def test_other_names_for_json(client: TestClient, kind: str) -> None:
    refused = client.post("/classify", content=b"{}", headers={"Content-Type": kind})
    assert (refused.status_code, kind in refused.json()["detail"]) == (415, True)


@pytest.mark.parametrize("content", [b"top_k=3&file=x", b'{"inputs": ""}', b"\x89PNG\x1aIHDR"])
def test_what_curl_makes_of_a_file_where_it_takes_it_for_text(
    client: TestClient, content: bytes
) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    refused = client.post("/classify", content=content, headers=headers)
    assert (refused.status_code, "--data-binary" in refused.json()["detail"]) == (415, True)


def document(png: bytes, parameters: str) -> str:
    return f'{{"inputs": "{base64.b64encode(png).decode()}", "parameters": {parameters}}}'


WRONG = {
    "a text for a number": ('{"entropy_threshold": "0.2"}', "entropy_threshold"),
    "a boolean for a number": ('{"entropy_threshold": true}', "entropy_threshold"),
    "a text for a count": ('{"top_k": "3"}', "top_k"),
    "a boolean for a count": ('{"max_timesteps": true}', "max_timesteps"),
    "half a count": ('{"top_k": 1.5}', "top_k"),
    "a text for a boolean": ('{"brownout": "false"}', "brownout"),
    "a number for a boolean": ('{"brownout": 0}', "brownout"),
    "a number for a name": ('{"model": 3}', "model"),
    "null for a count": ('{"top_k": null}', "top_k"),
    "a list for a number": ('{"deadline_ms": [5]}', "deadline_ms"),
    "no number": ('{"deadline_ms": NaN}', "deadline_ms"),
    "no end": ('{"energy_budget_pj": Infinity}', "energy_budget_pj"),
    "a number of 4,000 digits": ('{"deadline_ms": ' + "9" * 4000 + "}", "deadline_ms"),
    "nothing": ("null", "parameters"),
    "a list": ("[]", "parameters"),
}


@pytest.mark.parametrize(("parameters", "named"), WRONG.values(), ids=WRONG)
def test_a_wrong_type_is_refused_by_name_on_every_way(
    client: TestClient, png: bytes, parameters: str, named: str
) -> None:
    one = document(png, parameters)
    for path in ("/classify", "/classify/stream"):
        refused = client.post(path, content=one, headers=JSON)
        assert (refused.status_code, named in refused.json()["detail"]) == (422, True), refused.text
    items = client.post("/classify/batch", content=f'{{"items": [{one}]}}', headers=JSON).json()
    assert (items["results"][0]["status"], named in str(items)) == (422, True)
    shared = f'{{"items": [{{"inputs": ""}}], "parameters": {parameters}}}'
    assert client.post("/classify/batch", content=shared, headers=JSON).status_code == 422
    if parameters[0] == "{" and named not in ("top_k", "model"):
        whole = json.dumps(as_json(SMALL, "UINT8"))[:-1] + f', "parameters": {parameters}}}'
        refused = client.post(INFER, content=whole)
        assert (refused.status_code, named in refused.json()["error"]) == (422, True)


def test_some_libraries_write_whole_numbers_with_a_point(client: TestClient, png: bytes) -> None:
    content = document(png, '{"top_k": 3.0, "max_timesteps": 2.0, "deadline_ms": 60000}')
    answer = client.post("/classify", content=content, headers=JSON).json()
    assert (len(answer["top_k"]), answer["max_timesteps"]) == (3, 2)


TWICE = {
    "a parameter": ("/classify", '{"inputs": "", "parameters": {"top_k": 1, "top_k": 2}}', "top_k"),
    "the image": ("/classify", '{"inputs": "data:,", "inputs": "aGk="}', "inputs"),
    "behind a data URI": ("/classify", '{"inputs": "data:a:", "x": 1, "x": 1}', "x"),
    "all parameters": (
        "/classify/stream",
        '{"inputs": "", "parameters": {}, "parameters": {}}',
        "",
    ),
    "the items": ("/classify/batch", '{"items": [], "items": [{"inputs": ""}]}', "items"),
    "in an item": ("/classify/batch", '{"items": [{"inputs": "", "inputs": ""}]}', "inputs"),
    "in a later item": (
        "/classify/batch",
        '{"items": [1, {"inputs": "", "inputs": ""}]}',
        "inputs",
    ),
    "a tensor's": (INFER, '{"inputs": [{"name": "image", "name": "image"}]}', "name"),
    "an output's": (
        INFER,
        '{"outputs": [{"name": "class", "name": "label"}]}',
        "name",
    ),
    "deep inside": (INFER, '{"inputs": [[[[{"a": 1, "\\u0061": 2}]]]]}', "a"),
}


@pytest.mark.parametrize(("path", "content", "named"), TWICE.values(), ids=TWICE)
def test_a_member_is_given_once(client: TestClient, path: str, content: str, named: str) -> None:
    refused = client.post(path, content=content, headers=JSON)
    assert refused.status_code == 400, refused.text
    assert f"{named}' is given twice" in refused.text


def test_colons_in_strings_are_no_members(client: TestClient, png: bytes) -> None:
    content = document(png, '{"version": ":::", "model": "\\":"}')
    assert client.post("/classify", content=content, headers=JSON).status_code == 404
    named = as_json(SMALL, "UINT8", id='{"a": 1, "a": 2}')
    assert client.post(INFER, json=named).json()["id"] == '{"a": 1, "a": 2}'
