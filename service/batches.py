"""Reading a batch: several files in a multipart form, or base64 in a JSON document."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from spikeserve.service.admission import Admission, File
from spikeserve.service.bodies import (
    content_type,
    decoded_base64,
    form_files,
    json_content,
    merged,
    read_body,
    validated,
)
from spikeserve.service.errors import (
    InvalidParameter,
    ServiceError,
    UnsupportedMedia,
    frameless,
)
from spikeserve.service.schemas import BatchDocument, ClassifyDocument, ClassifyParameters


@dataclass(frozen=True)
class Item:
    """One image file of a batch, with its own parameters."""

    image: File
    parameters: ClassifyParameters


async def read_batch(
    request: Request,
    parameters: ClassifyParameters,
    max_bytes: int,
    max_items: int,
    deadline: float,
) -> list[Item | ServiceError]:
    """The items, or in place of one what is wrong with it; parameters add up from outside in.

    Raises:
        BodyTooLarge, MalformedRequest, UnsupportedMedia, InvalidParameter: the batch as a whole.
        DeadlineExceeded: the deadline (monotonic) passed before the body was complete.
    """
    admission = request.app.state.admission
    match content_type(request):
        case "multipart/form-data":
            body = await read_body(request, max_bytes, deadline)
            found = form_files(request, body, max_items)
            return [Item(admission.file(file), parameters) for file in found]
        case "application/json":
            body = await read_body(request, max_bytes, deadline)
            return _documents(body, parameters, max_items, admission)
        case other:
            raise UnsupportedMedia(
                f"{other or 'no content type'} is not accepted; "
                "send multipart/form-data or application/json"
            )


def _documents(
    body: bytes, parameters: ClassifyParameters, max_items: int, admission: Admission
) -> list[Item | ServiceError]:
    batch = validated(json_content(body, max_items), BatchDocument)
    if len(batch.items) > max_items:
        raise InvalidParameter(f"{len(batch.items)} items; at most {max_items} are accepted")
    shared = merged(parameters, validated(batch.parameters, ClassifyParameters))
    return [_item(content, shared, admission) for content in batch.items]


def _item(content: object, shared: ClassifyParameters, admission: Admission) -> Item | ServiceError:
    try:
        document = validated(content, ClassifyDocument)
        own = validated(document.parameters, ClassifyParameters)
        return Item(admission.file(decoded_base64(document.inputs)), merged(shared, own))
    except ServiceError as error:
        return frameless(error)
