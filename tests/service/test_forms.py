"""Multipart forms: every file is used, and whatever else they say is refused by name."""

from __future__ import annotations

from collections.abc import Sequence

import httpx2
import pytest
from fastapi.testclient import TestClient

from spikeserve.service.errors import MalformedRequest
from spikeserve.service.http.forms import MAX_HEAD, files

FORM = "multipart/form-data; boundary=XX"
FILE = b'; name="file"; filename="a.png"'


def form(*parts: tuple[bytes, bytes]) -> bytes:
    """Parts of head and contents, and the end."""
    return b"".join(b"--XX\r\n%s\r\n\r\n%s\r\n" % part for part in parts) + b"--XX--\r\n"


def head(rest: bytes) -> bytes:
    return b"Content-Disposition: form-data" + rest


def post(client: TestClient, path: str, body: bytes, kind: str = FORM) -> httpx2.Response:
    return client.post(path, content=body, headers={"Content-Type": kind})


@pytest.mark.parametrize(
    "names",
    [
        ["file", "image", "file[]"],
        ["image"] * 3,
        ["images", "images"],
        ["files[0]", "files[1]"],
        ["file", "file[1]"],
        ["file", "FILE"],
    ],
)
def test_a_batch_answers_every_file_or_names_the_field_it_does_not_know(
    client: TestClient, png: bytes, names: Sequence[str]
) -> None:
    refused = client.post(
        "/classify/batch", files=[(name, ("a.png", png, "image/png")) for name in names]
    )
    assert refused.status_code == 400
    unknown = next(name for name in names if name not in ("file", "file[]"))
    assert repr(unknown) in refused.json()["detail"]
    assert "'file'" in refused.json()["detail"]


ACCEPTED = {
    "file": head(FILE),
    "a list's name": head(b'; name="file[]"; filename="a.png"'),
    "without a name": head(b'; filename="a.png"'),
    "an empty name": head(b'; name=""; filename="a.png"'),
    "a content type alone": b"Content-Type: image/png",
    "a name without quotes": head(b"; name=file; filename=a.png"),
    "a filename of another alphabet": head(b"; name=\"file\"; filename*=UTF-8''%C3%A4.png"),
    "a filename with a semicolon": head(b'; name="file"; filename="a;b=\\"c.png"'),
    "no filename, but a content type": head(b'; name="file"') + b"\r\nContent-Type: image/png",
    "an attachment": b'content-disposition: attachment; filename="a.png"; name="file"',
    "a binary transfer": head(FILE) + b"\r\nContent-Transfer-Encoding: BINARY",
}


@pytest.mark.parametrize("one", ACCEPTED.values(), ids=ACCEPTED)
def test_a_file_as_real_clients_send_it(client: TestClient, png: bytes, one: bytes) -> None:
    body = form((one, png), (one, png))
    assert [len(found) for found in files(body, FORM, 2)] == [len(png)] * 2
    results = post(client, "/classify/batch", body).json()["results"]
    assert [result["status"] for result in results] == [200, 200]
    for path in ("/classify", "/classify/stream"):
        assert post(client, path, form((one, png))).status_code == 200


@pytest.mark.parametrize(
    "kind",
    [
        'multipart/form-data; boundary="XX"',
        "multipart/form-data; boundary=XX  ",
        "Multipart/Form-Data; charset=utf-8; Boundary=XX",
    ],
)
def test_a_boundary_as_real_clients_write_it(client: TestClient, png: bytes, kind: str) -> None:
    assert post(client, "/classify", form((head(FILE), png)), kind).status_code == 200


REFUSED: dict[str, tuple[bytes, str]] = {
    "a parameter": (form((head(FILE), b"x"), (head(b'; name="top_k"'), b"3")), "query string"),
    "a parameter first": (form((head(b'; name="top_k"'), b"3"), (head(FILE), b"x")), "'top_k'"),
    "parameters as JSON": (
        form((head(b'; name="parameters"') + b"\r\nContent-Type: application/json", b"{}")),
        "query string",
    ),
    "text for a file": (form((head(b'; name="file"'), b"x")), "filename"),
    "text without a name": (form((b"X: y", b"x")), "filename"),
    "base64": (
        form((head(FILE) + b"\r\nContent-Transfer-Encoding: base64", b"aGk=")),
        "'base64'",
    ),
    "files in a file": (
        form((head(b'; name="file"') + b"\r\nContent-Type: multipart/mixed; boundary=Y", b"--Y")),
        "repeat it",
    ),
    "two files": (form((head(FILE), b"x"), (head(FILE), b"y")), "/classify/batch"),
    "no file": (form(), "'file'"),
    "cut off": (form((head(FILE), b"x"))[:-4], "cut off"),
    "something in front": (b"hello\r\n" + form((head(FILE), b"x")), "begin"),
    "a second form behind": (form((head(FILE), b"x")) * 2, "follow"),
    "lines without CR": (form((head(FILE), b"x")).replace(b"\r", b""), "cut off"),
    "a longer boundary": (form((head(FILE), b"x")).replace(b"--XX\r", b"--XXX\r"), "head"),
    "a long head": (form((b"a: " + b"b" * MAX_HEAD, b"x")), "head"),
    "an unknown name that is no text": (form((head(b'; name="\xff"'), b"x")), "\ufffd"),
}


@pytest.mark.parametrize(("body", "named"), REFUSED.values(), ids=REFUSED)
def test_what_a_form_may_not_say(client: TestClient, body: bytes, named: str) -> None:
    for path in ("/classify", "/classify/stream"):
        refused = post(client, path, body)
        assert (refused.status_code, named in refused.json()["detail"]) == (400, True), refused.text


@pytest.mark.parametrize("kind", ["mixed", "related", "form-data", "form-data; boundary="])
def test_other_forms(client: TestClient, png: bytes, kind: str) -> None:
    refused = post(client, "/classify", form((head(FILE), png)), f"multipart/{kind}")
    assert refused.status_code == (400 if "form-data" in kind else 415)


def test_a_batch_too_large_tells_its_size(client: TestClient, png: bytes) -> None:
    refused = post(client, "/classify/batch", form(*[(head(FILE), png)] * 65))
    assert (refused.status_code, "65 files" in refused.json()["detail"]) == (400, True)
    with pytest.raises(MalformedRequest, match="more than 65 parts"):
        files(form(*[(head(FILE), b"")] * 1000), FORM, 1)


def test_contents_are_kept_to_the_byte() -> None:
    odd = [b"", b"\r\n", b"\r\n--X", b"-XX--", b"\r\n\r\n", b"\r\n--\r\n\r", bytes(range(256))]
    assert files(form(*[(head(FILE), data) for data in odd]), FORM, 9) == odd
