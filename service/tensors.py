"""Tensors of the Open Inference Protocol: a request's body to images, results to a body.

Tensors travel as JSON or, with the binary-data extension, as bytes behind the JSON, whose
length a header tells. Pure: every size a stranger names is compared with what is there
before anything is allocated for it.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, StrictBool

from spikeserve.models.encoding import Pixels
from spikeserve.service.bodies import Model, decoded_base64, json_content, validated
from spikeserve.service.errors import InvalidParameter, MalformedRequest

HEADER_LENGTH = "Inference-Header-Content-Length"
ALL_TENSOR = "0"
"""Its value where the body is nothing but one image file."""
INPUT = "image"
OUTPUTS = {
    "probabilities": "FP64",
    "class": "INT64",
    "label": "BYTES",
    "timesteps": "INT32",
    "entropy": "FP64",
    "entropy_threshold": "FP64",
    "energy_pj": "FP64",
    "stop_reason": "BYTES",
}
DTYPES = {"FP64": "<f8", "INT64": "<i8", "INT32": "<i4"}
LENGTH = struct.Struct("<I")  # in front of every element of BYTES
MAX_ID = 1024  # kept until the answer, which repeats it

Count = Annotated[int, Field(strict=True, ge=1, lt=2**63)]
Size = Annotated[int, Field(strict=True, ge=0, lt=2**63)]


class InferDocument(BaseModel):
    """The JSON of an inference request; its parts are validated one by one."""

    id: Annotated[str | None, Field(max_length=MAX_ID)] = None
    model_name: str | None = None
    model_version: str | None = None
    inputs: Annotated[list[Any], Field(min_length=1, max_length=1)]
    parameters: dict[str, Any] | None = None
    outputs: Annotated[list[Any], Field(max_length=len(OUTPUTS))] | None = None


class RequestInput(BaseModel):
    name: Literal["image"]
    datatype: Literal["BYTES", "UINT8"]
    shape: Annotated[list[Count], Field(min_length=1, max_length=5)]
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class InputParameters(BaseModel):
    binary_data_size: Size | None = None


class RequestOutput(BaseModel):
    name: str
    parameters: dict[str, Any] | None = None


class OutputParameters(BaseModel):
    binary_data: StrictBool | None = None
    classification: Count | None = None


class Defaults(BaseModel):
    binary_data_output: StrictBool = False


@dataclass(frozen=True)
class Wanted:
    """An output as the request wants it."""

    name: str
    binary: bool
    classes: int | None = None
    """Not the tensor, but its so many largest values as ``value:index:label``."""


@dataclass(frozen=True)
class InferRequest:
    """What a request asks for, all of it checked."""

    document: InferDocument
    images: Sequence[bytes | Pixels]
    outputs: Sequence[Wanted]


@dataclass(frozen=True)
class Tensor:
    """An output; elements of BYTES are ``str``."""

    name: str
    datatype: str
    values: NDArray[Any]


def read_request(
    body: bytes, header_length: str | None, shape: tuple[int, ...], classes: int, max_items: int
) -> InferRequest:
    """A request's body for a model with that input and so many classes.

    Raises:
        MalformedRequest: names what is missing, unknown or does not fit together.
    """
    if header_length == ALL_TENSOR:
        document = InferDocument(inputs=[{}], parameters={"binary_data_output": True})
        return InferRequest(document, [body], _outputs(document, classes))
    end = len(body) if header_length is None else _header_end(header_length, len(body))
    content = json_content(body[:end], max_numbers=max_items * math.prod(shape))
    document = _part("request", content, InferDocument)
    tensor = _part("inputs", document.inputs[0], RequestInput)
    size = _part("inputs", tensor.parameters or {}, InputParameters).binary_data_size
    _check_shape(tensor, shape, max_items)
    behind = memoryview(body)[end:]
    if (tensor.data is None) == (size is None):
        raise MalformedRequest("inputs: either data or binary_data_size tells the contents")
    if len(behind) != (size or 0):
        raise MalformedRequest(
            f"{len(behind)} bytes follow the JSON, {size or 0} are announced; "
            f"{HEADER_LENGTH} and binary_data_size must match the body"
        )
    images: Sequence[bytes | Pixels]
    if tensor.datatype == "UINT8":
        flat = behind if tensor.data is None else _bytes(tensor.data, tensor.shape)
        images = _pixels(flat, shape, tensor.shape)
    elif tensor.data is None:
        images = _elements(behind, tensor.shape[0])
    else:
        images = _decoded(tensor.data, tensor.shape[0])
    return InferRequest(document, images, _outputs(document, classes))


def write_response(
    head: dict[str, Any], tensors: Sequence[Tensor], wanted: Sequence[Wanted]
) -> tuple[bytes, int | None]:
    """The body, and the length of its JSON where bytes follow."""
    outputs, behind = [], []
    for tensor, want in zip(tensors, wanted, strict=True):
        output: dict[str, Any] = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.values.shape),
        }
        if want.binary:
            behind.append(_binary(tensor))
            output["parameters"] = {"binary_data_size": len(behind[-1])}
        else:
            output["data"] = tensor.values.ravel().tolist()
        outputs.append(output)
    start = json.dumps(head | {"outputs": outputs}, separators=(",", ":")).encode()
    return b"".join([start, *behind]), len(start) if behind else None


def _part(where: str, content: object, model: type[Model]) -> Model:
    try:
        return validated(content, model)
    except InvalidParameter as error:
        raise MalformedRequest(f"{where}: {error}") from error


def _header_end(text: str, body: int) -> int:
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise MalformedRequest(f"{HEADER_LENGTH} is not a length")
    if int(text) > body:
        raise MalformedRequest(f"{HEADER_LENGTH} is {text}, the body has {body} bytes")
    return int(text)


def _check_shape(tensor: RequestInput, shape: tuple[int, ...], max_items: int) -> None:
    given, images = tensor.shape, tensor.shape[0]
    if tensor.datatype == "BYTES" and len(given) != 1:
        raise MalformedRequest(f"inputs: BYTES has the shape [N], not {given}")
    if tensor.datatype == "UINT8":
        if tuple(given[-len(shape) :]) != shape or len(given) > len(shape) + 1:
            size = ", ".join(map(str, shape))
            raise MalformedRequest(f"inputs: UINT8 has the shape [N, {size}] or [{size}]")
        images = given[0] if len(given) > len(shape) else 1
    if images > max_items:
        raise MalformedRequest(f"inputs: {images} images; at most {max_items} are accepted")


def _bytes(data: list[Any], shape: list[int]) -> bytes:
    """Nested or flat JSON numbers, row-major."""
    values = data
    if isinstance(data[0] if data else None, list):
        values = [data]
        for size in shape:
            if any(not isinstance(part, list) or len(part) != size for part in values):
                raise MalformedRequest(f"inputs: data is not nested as its shape {shape} says")
            values = list(chain.from_iterable(values))
    if len(values) != math.prod(shape):
        raise MalformedRequest(
            f"inputs: {len(values)} values in data, {math.prod(shape)} by its shape"
        )
    try:
        if bool not in set(map(type, values)):  # to bytes() they would be 0 and 1
            return bytes(values)
    except (TypeError, ValueError):
        pass
    raise MalformedRequest("inputs: UINT8 data consists of integers from 0 to 255")


def _pixels(flat: bytes | memoryview, shape: tuple[int, ...], given: list[int]) -> list[Pixels]:
    if len(flat) != math.prod(given):
        raise MalformedRequest(
            f"inputs: {len(flat)} bytes of binary data, {math.prod(given)} by its shape {given}"
        )
    own = np.frombuffer(flat, np.uint8).copy()  # or rows would keep the whole body in memory
    return list(own.reshape(-1, *shape))


def _elements(data: memoryview, count: int) -> list[bytes]:
    """BYTES: each element behind its length."""
    elements, at = [], 0
    for index in range(count):
        start = at + LENGTH.size
        if start > len(data):
            raise MalformedRequest(f"inputs: the binary data ends before element {index}")
        at = start + LENGTH.unpack_from(data, at)[0]
        if at > len(data):
            raise MalformedRequest(
                f"inputs: element {index} has {at - start} bytes, {len(data) - start} are left"
            )
        elements.append(bytes(data[start:at]))
    if at != len(data):
        raise MalformedRequest(f"inputs: {len(data) - at} bytes follow the last of {count} images")
    return elements


def _decoded(data: list[Any], count: int) -> list[bytes]:
    if len(data) != count or not all(isinstance(text, str) for text in data):
        raise MalformedRequest(f"inputs: data is not a list of {count} base64 strings")
    return [decoded_base64(text) for text in data]


def _outputs(document: InferDocument, classes: int) -> list[Wanted]:
    """What is asked for, or everything."""
    given = document.parameters or {}
    default = _part(
        "parameters",
        {name: given[name] for name in Defaults.model_fields if name in given},
        Defaults,
    ).binary_data_output
    if not document.outputs:
        return [Wanted(name, default) for name in OUTPUTS]
    wanted = [_wanted(content, default, classes) for content in document.outputs]
    if len({want.name for want in wanted}) != len(wanted):
        raise MalformedRequest("outputs: an output is named twice")
    return wanted


def _wanted(content: object, default: bool, classes: int) -> Wanted:
    output = _part("outputs", content, RequestOutput)
    if output.name not in OUTPUTS:
        raise MalformedRequest(
            f"outputs: no output {output.name[:100]!r}; there is {', '.join(OUTPUTS)}"
        )
    parameters = _part("outputs", output.parameters or {}, OutputParameters)
    k = parameters.classification
    if k is not None and (output.name != "probabilities" or k > classes):
        raise MalformedRequest(
            f"outputs: classification is for probabilities, which has {classes} classes"
        )
    binary = default if parameters.binary_data is None else parameters.binary_data
    return Wanted(output.name, binary, k)


def _binary(tensor: Tensor) -> bytes:
    if tensor.datatype != "BYTES":
        return tensor.values.astype(DTYPES[tensor.datatype]).tobytes()
    elements = [text.encode() for text in tensor.values.ravel().tolist()]
    return b"".join(part for text in elements for part in (LENGTH.pack(len(text)), text))
