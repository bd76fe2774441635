"""``POST /classify/batch``: several images in one request, each with its own way and end."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from spikeserve.service.attempts import attempted
from spikeserve.service.batches import Item, read_batch
from spikeserve.service.classification import Ticket, answer, cancel, due, finished
from spikeserve.service.direct import DirectRoute, JsonAnswer
from spikeserve.service.errors import (
    ServiceError,
    count,
    frameless,
    problem_document,
)
from spikeserve.service.http.queries import once
from spikeserve.service.metrics import BATCH
from spikeserve.service.routes.classify import BINARY, COMPRESSED, DOCUMENT, PROBLEMS
from spikeserve.service.routes.models import allowed
from spikeserve.service.schemas import (
    BatchClassification,
    BatchItem,
    ClassifyParameters,
    Problem,
    problems,
)

router = APIRouter(route_class=DirectRoute, dependencies=[Depends(allowed), Depends(once)])

BODY: dict[str, Any] = {
    "requestBody": {
        "description": COMPRESSED,
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["file"],
                    "properties": {"file": {"type": "array", "items": BINARY}},
                }
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["items"],
                    "properties": {
                        "items": {"type": "array", "items": DOCUMENT, "minItems": 1},
                        "parameters": ClassifyParameters.model_json_schema(),
                    },
                }
            },
        },
    }
}


@router.post(
    BATCH,
    response_model=BatchClassification,
    openapi_extra=BODY,
    responses=problems(*PROBLEMS),
)
async def classify_batch(
    request: Request, parameters: Annotated[ClassifyParameters, Query()]
) -> Response:
    """Classify several images; a bad one gets its own problem and harms no other."""
    state, arrived = request.app.state, time.monotonic()
    items = await read_batch(
        request,
        parameters,
        state.settings.max_body_bytes,
        state.settings.max_batch_items,
        due(parameters, arrived),
    )
    state.gate.spend(request, len(items))
    asked = [item.parameters if isinstance(item, Item) else parameters for item in items]
    models = [state.registry.label(each.model, each.version) for each in asked]
    request.state.model = next(filter(None, models), "")
    with state.admission.place(len(items)):
        outcomes: list[Ticket | ServiceError] = []
        try:
            for item in items:
                outcomes.append(await _submitted(request, item, arrived))
            tickets = _tickets(outcomes)
            if tickets:
                await finished(tickets, request.receive)
        except BaseException:
            cancel(_tickets(outcomes))
            raise
        results = [_result(request, outcome) for outcome in outcomes]
    for model, result in zip(models, results, strict=True):
        attempted("counting", state.metrics.item, model, BATCH, result.status)
    done = [
        ticket
        for ticket, result in zip(outcomes, results, strict=True)
        if isinstance(ticket, Ticket) and result.classification
    ]
    batch = BatchClassification(
        request_id=request.state.request_id,
        results=results,
        average_timesteps=statistics.fmean(t.job.row.t for t in done) if done else None,
        energy_pj=sum(t.job.energy.total_pj for t in done if t.job.energy),
    )
    return JsonAnswer(batch.model_dump_json().encode())


def _tickets(outcomes: Iterable[Ticket | ServiceError]) -> list[Ticket]:
    return [outcome for outcome in outcomes if isinstance(outcome, Ticket)]


async def _submitted(
    request: Request, item: Item | ServiceError, arrived: float
) -> Ticket | ServiceError:
    if isinstance(item, ServiceError):
        return item
    await asyncio.sleep(0)  # others get their turn between small images, decoded right here
    try:
        ticket: Ticket = await request.app.state.classifier.submit(
            item.image, item.parameters, request.state.request_id, arrived, request.receive
        )
    except ServiceError as error:
        return frameless(error)
    return ticket


def _result(request: Request, outcome: Ticket | ServiceError) -> BatchItem:
    if isinstance(outcome, Ticket):
        try:
            return BatchItem(status=200, classification=answer(outcome))
        except ServiceError as error:
            return _problem(request, error)
    return _problem(request, outcome)


def _problem(request: Request, error: ServiceError) -> BatchItem:
    count(request, error)
    document = problem_document(request, error.status, str(error))
    return BatchItem(status=error.status, problem=Problem.model_validate(document))
