"""Bodies that would cost far more to understand than to send: refused before they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from spikeserve.service.app import create_app
from spikeserve.service.errors import MalformedRequest
from spikeserve.service.http.forms import files
from spikeserve.service.schemas import ClassifyParameters
from spikeserve.service.settings import Settings
from tests.hostile.test_bad_input import assert_alive
from tests.service.openinference import INFER
from tests.service.test_forms import FILE, FORM, form, head

MANY = 70_000  # of anything fit the fixture's body of 1 MiB
KEYS = "{" + ",".join(f'"{k}":1' for k in range(MANY)) + "}"
LISTS = "[" + "[]," * 250_000 + "[]]"
TEXTS = "[" + '"",' * 300_000 + '""]'


def tensor(rest: str) -> str:
    return '{"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 16, 16, 3], ' + rest


DOCUMENTS: dict[str, tuple[str, str]] = {
    "parameters": ("/classify", '{"inputs": "aGk=", "parameters": ' + KEYS + "}"),
    "parameters of a stream": ("/classify/stream", '{"inputs": "", "parameters": ' + KEYS + "}"),
    "members at the top": ("/classify", KEYS),
    "one member again and again": ("/classify", "{" + '"a":1,' * MANY + '"a":1}'),
    "members in an item": ("/classify/batch", f'{{"items": [{KEYS}]}}'),
    "parameters of a batch": ("/classify/batch", f'{{"items": [""], "parameters": {KEYS}}}'),
    "items": ("/classify/batch", f'{{"items": {TEXTS}}}'),
    "parameters of the protocol": (INFER, tensor(f'"data": []}}], "parameters": {KEYS}}}')),
    "parameters of a tensor": (INFER, tensor(f'"parameters": {KEYS}}}]}}')),
    "parameters of an output": (INFER, f'{{"outputs": [{{"parameters": {KEYS}}}]}}'),
    "dimensions": (INFER, tensor(f'"shape": {TEXTS}}}]}}')),
    "outputs": (INFER, tensor(f'"data": []}}], "outputs": {TEXTS}}}')),
    "values of a tensor": (INFER, tensor('"data": [' + "0," * 400_000 + "0]}]}")),
    "lists of a tensor": (INFER, tensor(f'"data": {LISTS}}}]}}')),
    "a number of a million digits": ("/classify", '{"inputs": ' + "9" * 1_000_000 + "}"),
    "depth": ("/classify", '{"a":' * 15_000),
    "depth of lists": (INFER, '{"inputs": ' + "[" * 150_000),
}


@pytest.mark.parametrize(("path", "document"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_json_with_more_in_it_than_anybody_needs(
    client: TestClient, png: bytes, path: str, document: str
) -> None:
    headers = {"Content-Type": "application/json"}
    refused = client.post(path, content=document.encode(), headers=headers)
    assert refused.status_code == 400, refused.text
    assert len(refused.text) < 500
    assert_alive(client, png)


SET = ("on_deadline", "brownout", "top_k", "energy")  # by default, and never null


def test_a_service_for_large_batches_takes_them(bundle_folder: Path) -> None:
    settings = Settings(
        bundles=(bundle_folder,), max_batch_items=2000, queue_timesteps=2000, slots=8
    )
    parameters = {name: None for name in ClassifyParameters.model_fields if name not in SET}
    item = json.dumps({"inputs": "", "parameters": parameters})
    with TestClient(create_app(settings)) as client:
        content = f'{{"items": [{", ".join([item] * 2000)}]}}'
        headers = {"Content-Type": "application/json"}
        answer = client.post("/classify/batch", content=content, headers=headers)
        assert (answer.status_code, len(answer.json()["results"])) == (200, 2000)


LONG = "X" * 70
FORMS: dict[str, tuple[str, bytes]] = {
    "nothing but CR": (FORM, b"\r" * 1_000_000),
    "nothing but lines": (FORM, b"\r\n" * 500_000),
    "parts": (FORM, form(*[(head(FILE), b"")] * 10_000)),
    "fields": (FORM, form(*[(head(b'; name="a"'), b"")] * 10_000)),
    "headers": (FORM, form((b"a: b\r\n" * 100_000, b""))),
    "one long header": (FORM, form((head(b"; a=b" * 200_000), b""))),
    "a head of semicolons": (FORM, form((head(b";" * 2000), b""))),
    "a head of quotes": (FORM, form((head(b';a="' * 480), b""))),
    "boundaries that go on": (FORM, form((head(FILE), b"\r\n--XXy" * 100_000))),
    "a boundary of 60 kB": (f"multipart/form-data; boundary={'X' * 60_000}", b""),
    "a content type of semicolons": (f"multipart/form-data{';' * 60_000}boundary=XX", b"--XX--"),
}


@pytest.mark.parametrize(("kind", "body"), FORMS.values(), ids=FORMS)
def test_forms_with_more_in_them_than_files(
    client: TestClient, png: bytes, kind: str, body: bytes
) -> None:
    for path in ("/classify", "/classify/batch"):
        refused = client.post(path, content=body, headers={"Content-Type": kind})
        assert refused.status_code == 400, refused.text
        assert len(refused.text) < 500
    assert_alive(client, png)


def test_contents_full_of_what_is_almost_a_boundary() -> None:
    kind = f"multipart/form-data; boundary={LONG}"
    almost = f"\r\n--{LONG[1:]}".encode() * 10_000 + b"\r\n--\r\n-\r"
    body = form((head(FILE), almost)).replace(b"--XX\r\n", f"--{LONG}\r\n".encode())
    body = body.replace(b"--XX--", f"--{LONG}--".encode())
    assert files(body, kind, 1) == [almost]


def test_a_part_too_many_ends_the_reading() -> None:
    body = form(*[(head(FILE), b"")] * 66) + b"\r\n--XX no form at all"
    with pytest.raises(MalformedRequest, match="more than 65 parts"):
        files(body, FORM, 1)


def test_a_query_of_ten_thousand_parameters(client: TestClient, png: bytes) -> None:
    query = "&".join(f"a{number}" for number in range(7_000))
    refused = client.post(f"/classify?{query}", content=png)
    assert (refused.status_code, len(refused.text) < 500) == (422, True)
