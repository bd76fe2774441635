"""Reading a request's image from a raw body, a multipart file or base64 in JSON."""

from __future__ import annotations

import asyncio
import base64
import json
from codecs import BOM_UTF8
from collections import Counter
from math import inf
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.requests import ClientDisconnect, Request

from spikeserve.service.admission import File, Upload
from spikeserve.service.errors import (
    BodyTooLarge,
    InvalidParameter,
    MalformedRequest,
    UnsupportedMedia,
    describe,
)
from spikeserve.service.http.codings import coding, inflated
from spikeserve.service.http.forms import files
from spikeserve.service.schemas import ClassifyDocument, ClassifyParameters

Model = TypeVar("Model", bound=BaseModel)
Parameters = TypeVar("Parameters", bound=ClassifyParameters)

MAX_JSON_CONTAINERS = 200_000  # a pixel of a tensor may be a list
MAX_JSON_MEMBERS = 20_000  # more than a request has, besides
MAX_ITEM_MEMBERS = 20  # a batch's item has its image and its parameters
MAX_DOCUMENT = 1 << 16  # bytes of what comes without an image
URL_SAFE = bytes.maketrans(b"-_", b"+/")
WHITESPACE = b" \t\r\n"
URL_ENCODED = "application/x-www-form-urlencoded"
# The last is what curl --data-binary says unless told otherwise; magic bytes decide anyway.
RAW_TYPES = ("", "application/octet-stream", URL_ENCODED)


RECORDING = "application/x-npy"


async def read_image(
    request: Request, parameters: Parameters, max_bytes: int, deadline: float
) -> tuple[File, Parameters]:
    """The image file and the parameters, which a JSON body may add to.

    Raises:
        BodyTooLarge, MalformedRequest, UnsupportedMedia, InvalidParameter
        DeadlineExceeded: the deadline (monotonic) passed before the body was complete.
    """
    kind, new_file = content_type(request), request.app.state.admission.file
    if kind == "multipart/form-data":
        body = await read_body(request, max_bytes, deadline, one_image=True)
        (file,) = form_files(request, body, 1)
        return new_file(file), parameters
    if kind == "application/json":
        body = await read_body(request, max_bytes, deadline, one_image=True)
        document = validated(json_content(body), ClassifyDocument)
        own = validated(document.parameters, type(parameters))
        return new_file(decoded_base64(document.inputs)), merged(parameters, own)
    if kind.startswith("image/") or kind in RAW_TYPES or kind == RECORDING:
        image = await read_body(request, max_bytes, deadline, one_image=True)
        if kind == URL_ENCODED and image and b"\0" not in image:  # which every image has
            raise UnsupportedMedia(
                "not an image; curl sends one by --data-binary @photo.jpg, where -d would take "
                "bytes out of it, and JSON by --json; parameters go into the query string"
            )
        return new_file(image), parameters
    raise UnsupportedMedia(
        f"{kind} is not accepted; send image/*, multipart/form-data or application/json, "
        f"or {RECORDING} where the model takes recordings"
    )


def content_type(request: Request) -> str:
    """Without its parameters, in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _upload(request: Request, max_bytes: int, deadline: float, one_image: bool) -> Upload:
    """A body on its way in, unless its head says that it is too much.

    Raises:
        BodyTooLarge, QueueFull, NotReady
    """
    announced = 0
    for name, value in request.scope["headers"]:  # faster than Headers
        if name == b"content-length" and value.isdigit():
            announced = int(value)
    if announced > max_bytes:
        raise BodyTooLarge(f"the body is larger than {max_bytes} bytes")
    upload: Upload = request.app.state.admission.upload(announced, deadline, one_image)
    return upload


async def read_body(
    request: Request, max_bytes: int, deadline: float = inf, *, one_image: bool = False
) -> bytes:
    """The whole body, as it was before it was compressed.

    Raises:
        BodyTooLarge: noticed at the limit, not after it.
        UnsupportedMedia, MalformedRequest: see :func:`inflated`.
        QueueFull, NotReady, BodyTimeout, DeadlineExceeded: see :meth:`Admission.upload`.
    """
    compressed = coding(request)
    with _upload(request, max_bytes, deadline, one_image) as upload:
        body = await _next_chunk(request, upload, max_bytes)
        if not upload.complete:
            # Not a list of pieces: each takes 40 bytes besides its own, however small it is.
            whole = bytearray(body)
            while not upload.complete:
                whole += await _next_chunk(request, upload, max_bytes)
            body = bytes(whole)
        if compressed:
            body = await asyncio.to_thread(inflated, body, compressed, max_bytes)
            upload.add(len(body))
        return body


async def read_document(request: Request, model: type[Model]) -> Model:
    """The JSON of a request that may also come without a body.

    Raises:
        as :func:`read_body`, :func:`json_content` and :func:`validated` do
    """
    announced = request.headers.get("content-length", "0") != "0"
    if not (announced or "transfer-encoding" in request.headers):
        return model()  # however full the service is
    body = await read_body(request, MAX_DOCUMENT)
    return validated(json_content(body) if body.strip() else {}, model)


async def _next_chunk(request: Request, upload: Upload, max_bytes: int) -> bytes:
    """A piece of the body; stops at the limit instead of reading on."""
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    chunk: bytes = message.get("body", b"")
    upload.add(len(chunk))
    upload.complete = not message.get("more_body", False)
    if upload.received > max_bytes:
        raise BodyTooLarge(f"the body is larger than {max_bytes} bytes")
    return chunk


def form_files(request: Request, body: bytes, most: int) -> list[bytes]:
    """The files of a form; see :func:`files`."""
    return files(body, request.headers["content-type"], most)


def json_content(body: bytes, max_items: int = 1, max_numbers: int = 0) -> object:
    """What a JSON body says, which may hold so many items, or a tensor of so many numbers.

    Raises:
        MalformedRequest: it is not JSON, says something twice, or has more members, lists or
            objects than anything that is asked for needs: millions fit a body, and would
            keep the event loop for seconds.
    """
    members, most_members = body.count(b":"), MAX_JSON_MEMBERS + max_items * MAX_ITEM_MEMBERS
    for kind, found, most in (
        ("lists and objects", body.count(b"[") + body.count(b"{"), MAX_JSON_CONTAINERS),
        ("members", members, most_members),
        ("values", body.count(b","), most_members + max_numbers),
    ):
        if found > most:
            raise MalformedRequest(f"more than {most} {kind} in JSON")
    body = body.removeprefix(BOM_UTF8)  # Windows likes to put it in front
    try:
        content: object = from_json(body)
    except ValueError as error:
        raise MalformedRequest(f"the body is not JSON: {error}") from error
    if members > _members(content):  # colons in strings, or a member twice: looked at more slowly
        json.loads(body, object_pairs_hook=_each_once, parse_int=str, parse_float=str)
    return content


def _members(content: object) -> int:
    """How many members all objects have; but those in lists of something else."""
    match content:
        case dict():
            return len(content) + sum(map(_members, content.values()))
        case [dict(), *_]:
            return sum(map(_members, content))
    return 0


def _each_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(members)
    if len(content) < len(members):
        ((name, _),) = Counter(name for name, _ in members).most_common(1)
        raise MalformedRequest(f"{name[:100]!r} is given twice")
    return content


def validated(content: object, model: type[Model]) -> Model:
    """Untrusted content as a model, types taken as they are.

    Raises:
        InvalidParameter: names what is wrong.
    """
    # Checked here: validation would report every unknown key of a hostile body, one by one.
    for key in content if isinstance(content, dict) else ():
        if key not in model.model_fields:
            raise InvalidParameter(f"unknown parameter {key[:100]!r}")
    try:
        return model.model_validate(content, strict=True)
    except ValidationError as error:
        raise InvalidParameter(describe(error.errors())) from error


def merged(parameters: Parameters, own: Parameters) -> Parameters:
    """Parameters from outside, with those given closer to the image instead."""
    return parameters.model_copy(update=own.model_dump(exclude_unset=True))


def decoded_base64(text: str) -> bytes:
    """The file in a JSON string: base64 of either alphabet, in lines, or a data URI with it.

    Raises:
        MalformedRequest: it is not base64.
    """
    try:
        data = text.encode("ascii")
        if data[:5].lower() == b"data:":
            kind, comma, data = data.partition(b",")
            if not (comma and kind.lower().endswith(b";base64")):
                raise ValueError("a data URI with an image is data:image/png;base64,…")
        data = data.translate(URL_SAFE, WHITESPACE)
        return base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
    except ValueError as error:  # its own error, or one of ASCII
        raise MalformedRequest(f"inputs is not base64: {error}") from error
