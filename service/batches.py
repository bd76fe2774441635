"""Reading a batch: several files in a multipart form, or base64 in a JSON document."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

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

    image: bytes
    parameters: ClassifyParameters


async def read_batch(
    request: Request, parameters: ClassifyParameters, max_bytes: int, max_items: int
) -> list[Item | ServiceError]:
    """The items, or in place of one what is wrong with it; parameters add up from outside in.

    Raises:
        BodyTooLarge, MalformedRequest, UnsupportedMedia, InvalidParameter: the batch as a whole.
    """
    match content_type(request):
        case "multipart/form-data":
            found = form_files(request, await read_body(request, max_bytes), max_items)
            return [Item(file, parameters) for file in found]
        case "application/json":
            return _documents(await read_body(request, max_bytes), parameters, max_items)
        case other:
            raise UnsupportedMedia(
                f"{other or 'no content type'} is not accepted; "
                "send multipart/form-data or application/json"
            )


def _documents(
    body: bytes, parameters: ClassifyParameters, max_items: int
) -> list[Item | ServiceError]:
    batch = validated(json_content(body, max_items), BatchDocument)
    if len(batch.items) > max_items:
        raise InvalidParameter(f"{len(batch.items)} items; at most {max_items} are accepted")
    shared = merged(parameters, validated(batch.parameters, ClassifyParameters))
    return [_item(content, shared) for content in batch.items]


def _item(content: object, shared: ClassifyParameters) -> Item | ServiceError:
    try:
        document = validated(content, ClassifyDocument)
        own = validated(document.parameters, ClassifyParameters)
        return Item(decoded_base64(document.inputs), merged(shared, own))
    except ServiceError as error:
        return frameless(error)
