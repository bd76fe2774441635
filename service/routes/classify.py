"""``POST /classify``: bytes in, class, timesteps and energy out."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from spikeserve.service.bodies import RECORDING, read_image
from spikeserve.service.classification import answer, due, finished
from spikeserve.service.direct import DirectRoute, JsonAnswer
from spikeserve.service.http.queries import once
from spikeserve.service.routes.models import allowed
from spikeserve.service.schemas import BASE64, Classification, ClassifyParameters, problems

router = APIRouter(route_class=DirectRoute, dependencies=[Depends(allowed), Depends(once)])

BINARY = {"type": "string", "format": "binary"}
DOCUMENT: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["inputs"],
    "properties": {
        "inputs": {"type": "string", "format": "byte", "description": BASE64},
        "parameters": ClassifyParameters.model_json_schema(),
    },
}
COMPRESSED = "May come with `Content-Encoding: gzip` or `deflate`."
BODY: dict[str, Any] = {
    "requestBody": {
        "description": COMPRESSED,
        "required": True,
        "content": {
            "image/*": {"schema": BINARY},
            RECORDING: {"schema": BINARY},
            "application/octet-stream": {"schema": BINARY},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["file"],
                    "properties": {"file": BINARY},
                }
            },
            "application/json": {"schema": DOCUMENT},
        },
    }
}
PROBLEMS = (400, 401, 404, 408, 409, 413, 415, 422, 429, 500, 503, 504)


@router.post(
    "/classify",
    response_model=Classification,
    openapi_extra=BODY,
    responses=problems(*PROBLEMS),
)
async def classify(
    request: Request, parameters: Annotated[ClassifyParameters, Query()]
) -> Response:
    """Classify one image, stopping as soon as the network is sure enough."""
    state, arrived = request.app.state, time.monotonic()
    state.gate.spend(request)
    file, parameters = await read_image(
        request, parameters, state.settings.max_body_bytes, due(parameters, arrived)
    )
    request.state.model = state.registry.get(parameters.model, parameters.version).name
    with state.admission.place():
        ticket = await state.classifier.submit(
            file, parameters, request.state.request_id, arrived, request.receive
        )
        await finished([ticket], request.receive)
        result = answer(ticket)
    return JsonAnswer(
        result.model_dump_json().encode(),
        (b"x-timesteps-used", str(result.timesteps_used).encode()),
        (b"server-timing", result.timing_ms.header.encode()),
    )
