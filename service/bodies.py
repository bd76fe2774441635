"""Reading a request's image from a raw body, a multipart file or base64 in JSON."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from service.errors import (
    BodyTooLarge,
    InvalidParameter,
    MalformedRequest,
    UnsupportedMedia,
    describe,
)
from service.schemas import ClassifyDocument, ClassifyParameters

# The last is what curl --data-binary says unless told otherwise; magic bytes decide anyway.
RAW_TYPES = ("", "application/octet-stream", "application/x-www-form-urlencoded")


async def read_image(
    request: Request, parameters: ClassifyParameters, max_bytes: int
) -> tuple[bytes, ClassifyParameters]:
    """The image file and the parameters, which a JSON body may add to.

    Raises:
        BodyTooLarge, MalformedRequest, UnsupportedMedia, InvalidParameter
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "multipart/form-data":
        return await _multipart_file(request, max_bytes), parameters
    if content_type == "application/json":
        return _json_image(await _body(request, max_bytes), parameters)
    if content_type.startswith("image/") or content_type in RAW_TYPES:
        return await _body(request, max_bytes), parameters
    raise UnsupportedMedia(
        f"{content_type} is not accepted; send image/*, multipart/form-data or application/json"
    )


async def _chunks(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """The body as it arrives; stops at the limit instead of reading on."""
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise BodyTooLarge(f"the body is larger than {max_bytes} bytes")
        yield chunk


async def _body(request: Request, max_bytes: int) -> bytes:
    return b"".join([chunk async for chunk in _chunks(request, max_bytes)])


async def _multipart_file(request: Request, max_bytes: int) -> bytes:
    parser = MultiPartParser(
        request.headers, _chunks(request, max_bytes), max_files=1, max_fields=0
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise MalformedRequest(f"malformed multipart body: {error}") from error
    try:
        file = form.get("file")
        if file is None or isinstance(file, str):
            raise MalformedRequest("the multipart body has no file field named 'file'")
        return await file.read()
    finally:
        await form.close()


def _json_image(body: bytes, parameters: ClassifyParameters) -> tuple[bytes, ClassifyParameters]:
    try:
        content = from_json(body)
    except ValueError as error:
        raise MalformedRequest(f"the body is not JSON: {error}") from error
    # Checked here: validation would report every unknown key of a hostile body, one by one.
    _refuse_unknown(content, ClassifyDocument)
    if isinstance(content, dict):
        _refuse_unknown(content.get("parameters"), ClassifyParameters)
    try:
        document = ClassifyDocument.model_validate(content)
    except ValidationError as error:
        raise InvalidParameter(describe(error.errors())) from error
    given = document.parameters.model_dump(exclude_unset=True)
    try:
        image = base64.b64decode(document.inputs, validate=True)
    except ValueError as error:  # its own error, or one of ASCII
        raise MalformedRequest(f"inputs is not base64: {error}") from error
    return image, parameters.model_copy(update=given)


def _refuse_unknown(content: object, model: type[BaseModel]) -> None:
    if isinstance(content, dict):
        for key in content:
            if key not in model.model_fields:
                raise InvalidParameter(f"unknown parameter {key[:100]!r}")
