"""``POST /classify``: bytes in, class, timesteps and energy out."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request, Response

from models.errors import InvalidPolicy
from models.inference import Row
from service.bodies import read_image
from service.errors import InvalidParameter
from service.images import decode_image
from service.registry import ServedModel
from service.scheduler import Job
from service.schemas import (
    Classification,
    ClassifyParameters,
    Energy,
    ModelReference,
    ScoredClass,
    Timing,
    problems,
)

router = APIRouter()

MILLISECONDS = 1000
BINARY = {"type": "string", "format": "binary"}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "image/*": {"schema": BINARY},
            "application/octet-stream": {"schema": BINARY},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": BINARY},
                }
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["inputs"],
                    "properties": {
                        "inputs": {"type": "string", "format": "byte"},
                        "parameters": ClassifyParameters.model_json_schema(),
                    },
                }
            },
        },
    }
}


@router.post(
    "/classify",
    response_model=Classification,
    openapi_extra=BODY,
    responses=problems(400, 404, 413, 415, 422, 429, 500, 503),
)
async def classify(
    request: Request, response: Response, parameters: Annotated[ClassifyParameters, Query()]
) -> Classification:
    """Classify one image, stopping as soon as the network is sure enough."""
    with request.app.state.admission.place():
        return await _classify(request, response, parameters)


async def _classify(
    request: Request, response: Response, parameters: ClassifyParameters
) -> Classification:
    state = request.app.state
    begun = time.monotonic()
    data, parameters = await read_image(request, parameters, state.settings.max_body_bytes)
    model: ServedModel = state.registry.get(parameters.model)
    request.state.model = model.name
    try:
        policy = model.manifest.policy(
            parameters.entropy_threshold, parameters.min_timesteps, parameters.max_timesteps
        )
    except InvalidPolicy as error:
        raise InvalidParameter(str(error)) from error
    received = time.monotonic()
    image = await asyncio.get_running_loop().run_in_executor(
        state.decoders,
        decode_image,
        data,
        model.manifest.network.input_shape,
        state.settings.max_pixels,
    )
    decoded = time.monotonic()
    model.metrics.decode_duration.observe(decoded - received)
    job = await asyncio.wrap_future(model.worker.submit(Row(image, policy)))
    answer = _answer(model, job, request.state.request_id, parameters.top_k)
    answer.timing_ms = Timing(
        decode=(decoded - received) * MILLISECONDS,
        queue=(job.started - job.submitted) * MILLISECONDS,
        inference=(job.finished - job.started) * MILLISECONDS,
        total=(time.monotonic() - begun) * MILLISECONDS,
    )
    response.headers["X-Timesteps-Used"] = str(answer.timesteps_used)
    response.headers["Server-Timing"] = ", ".join(
        f"{stage};dur={value:.3f}" for stage, value in answer.timing_ms
    )
    return answer


def _answer(model: ServedModel, job: Job, request_id: str, top_k: int) -> Classification:
    manifest, row = model.manifest, job.row
    assert row.probabilities is not None
    assert row.stop_reason is not None
    energy = model.energy.estimate(np.stack(row.active_pairs))
    model.metrics.finished(job, energy)
    # A stable sort, so that equal probabilities rank by class index as argmax does.
    order = np.argsort(-row.probabilities, kind="stable")[:top_k]
    ranked = [
        ScoredClass(
            index=int(index),
            label=manifest.labels[index],
            probability=float(row.probabilities[index]),
        )
        for index in order
    ]
    return Classification(
        request_id=request_id,
        model=ModelReference(
            name=manifest.name, version=manifest.version, engine=model.worker.engine.name
        ),
        prediction=ranked[0],
        top_k=ranked,
        timesteps_used=row.t,
        max_timesteps=row.policy.max_timesteps,
        entropy=row.entropy,
        entropy_threshold=row.policy.entropy_threshold,
        stop_reason=row.stop_reason,
        energy=Energy.of(energy),
        timing_ms=Timing(decode=0, queue=0, inference=0, total=0),
    )
