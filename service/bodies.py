"""Reading a request's image from a raw body, a multipart file or base64 in JSON."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from math import inf
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from spikeserve.service.admission import File, Upload
from spikeserve.service.errors import (
    BodyTooLarge,
    InvalidParameter,
    MalformedRequest,
    UnsupportedMedia,
    describe,
)
from spikeserve.service.schemas import ClassifyDocument, ClassifyParameters

Model = TypeVar("Model", bound=BaseModel)

MAX_JSON_CONTAINERS = 200_000  # a pixel of a tensor may be a list
# The last is what curl --data-binary says unless told otherwise; magic bytes decide anyway.
RAW_TYPES = ("", "application/octet-stream", "application/x-www-form-urlencoded")


async def read_image(
    request: Request, parameters: ClassifyParameters, max_bytes: int, deadline: float
) -> tuple[File, ClassifyParameters]:
    """The image file and the parameters, which a JSON body may add to.

    Raises:
        BodyTooLarge, MalformedRequest, UnsupportedMedia, InvalidParameter
        DeadlineExceeded: the deadline (monotonic) passed before the body was complete.
    """
    kind, new_file = content_type(request), request.app.state.admission.file
    if kind == "multipart/form-data":
        return new_file(await _multipart_file(request, max_bytes, deadline)), parameters
    if kind == "application/json":
        body = await read_body(request, max_bytes, deadline, one_image=True)
        document = validated(json_content(body), ClassifyDocument)
        own = validated(document.parameters, ClassifyParameters)
        return new_file(decoded_base64(document.inputs)), merged(parameters, own)
    if kind.startswith("image/") or kind in RAW_TYPES:
        body = await read_body(request, max_bytes, deadline, one_image=True)
        return new_file(body), parameters
    raise UnsupportedMedia(
        f"{kind} is not accepted; send image/*, multipart/form-data or application/json"
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
    """The whole body.

    Raises:
        BodyTooLarge: noticed at the limit, not after it.
        QueueFull, NotReady, BodyTimeout, DeadlineExceeded: see :meth:`Admission.upload`.
    """
    with _upload(request, max_bytes, deadline, one_image) as upload:
        first = await _next_chunk(request, upload, max_bytes)
        if upload.complete:
            return first
        # Not a list of pieces: each takes 40 bytes besides its own, however small it is.
        body = bytearray(first)
        while not upload.complete:
            body += await _next_chunk(request, upload, max_bytes)
        return bytes(body)


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


async def _chunks(request: Request, upload: Upload, max_bytes: int) -> AsyncGenerator[bytes, None]:
    while not upload.complete:
        yield await _next_chunk(request, upload, max_bytes)


@asynccontextmanager
async def multipart_form(
    request: Request,
    max_bytes: int,
    max_files: int,
    deadline: float = inf,
    *,
    one_image: bool = False,
) -> AsyncGenerator[FormData, None]:
    """The form; its files are gone afterwards.

    Raises:
        BodyTooLarge, MalformedRequest
        QueueFull, NotReady, BodyTimeout, DeadlineExceeded: see :meth:`Admission.upload`.
    """
    with _upload(request, max_bytes, deadline, one_image) as upload:
        chunks = _chunks(request, upload, max_bytes)
        parser = MultiPartParser(request.headers, chunks, max_files=max_files, max_fields=0)
        parser.spool_max_size = max_bytes  # in memory, as other bodies: there may be no disk
        try:
            form = await parser.parse()
        except (MultiPartException, KeyError, ValueError) as error:
            raise MalformedRequest(f"malformed multipart body: {error}") from error
    try:
        yield form
    finally:
        await form.close()


async def _multipart_file(request: Request, max_bytes: int, deadline: float) -> bytes:
    async with multipart_form(
        request, max_bytes, max_files=1, deadline=deadline, one_image=True
    ) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise MalformedRequest("the multipart body has no file field named 'file'")
        return await file.read()


def json_content(body: bytes) -> object:
    """What a JSON body says.

    Raises:
        MalformedRequest: it is not JSON, or has more lists and objects than any batch needs:
            millions of empty ones fit a body, and would keep the event loop for seconds.
    """
    if body.count(b"[") + body.count(b"{") > MAX_JSON_CONTAINERS:
        raise MalformedRequest(f"more than {MAX_JSON_CONTAINERS} lists and objects")
    try:
        content: object = from_json(body)
    except ValueError as error:
        raise MalformedRequest(f"the body is not JSON: {error}") from error
    return content


def validated(content: object, model: type[Model]) -> Model:
    """Untrusted content as a model.

    Raises:
        InvalidParameter: names what is wrong.
    """
    # Checked here: validation would report every unknown key of a hostile body, one by one.
    for key in content if isinstance(content, dict) else ():
        if key not in model.model_fields:
            raise InvalidParameter(f"unknown parameter {key[:100]!r}")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise InvalidParameter(describe(error.errors())) from error


def merged(parameters: ClassifyParameters, own: ClassifyParameters) -> ClassifyParameters:
    """Parameters from outside, with those given closer to the image instead."""
    return parameters.model_copy(update=own.model_dump(exclude_unset=True))


def decoded_base64(text: str) -> bytes:
    """The file in a JSON string.

    Raises:
        MalformedRequest: it is not base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:  # its own error, or one of ASCII
        raise MalformedRequest(f"inputs is not base64: {error}") from error
