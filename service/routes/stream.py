"""``POST /classify/stream``: watch the network make up its mind, as server-sent events.

One ``timestep`` event after every step, then ``result`` with what ``POST /classify`` would
have answered, or ``error`` with a problem document: the status line is gone by then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from service.bodies import read_image
from service.classification import ClientWatch, Ticket, answer, ranking
from service.direct import DirectRoute
from service.errors import ServiceError, problem_document
from service.jobs import Progress
from service.routes.classify import BODY, PROBLEMS
from service.schemas import ClassifyParameters, Problem, Timestep, problems

router = APIRouter(route_class=DirectRoute)

EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"description": "server-sent events", "content": {"text/event-stream": {}}}
}


@router.post(
    "/classify/stream",
    openapi_extra=BODY,
    response_class=Response,
    responses={**problems(*PROBLEMS), **EVENTS},
)
async def stream(request: Request, parameters: Annotated[ClassifyParameters, Query()]) -> Response:
    """Classify one image and report every timestep as it happens."""
    return EventStream(request, parameters)


class EventStream(Response):
    """Holds the request's place for as long as it sends."""

    def __init__(self, request: Request, parameters: ClassifyParameters) -> None:
        super().__init__()
        self._request = request
        self._parameters = parameters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        request, state, arrived = self._request, self._request.app.state, time.monotonic()
        progress: asyncio.Queue[Progress | None] = asyncio.Queue()
        state.gate.spend(request)
        data, parameters = await read_image(
            request, self._parameters, state.settings.max_body_bytes
        )
        with state.admission.place():
            ticket = await state.classifier.submit(
                data, parameters, request.state.request_id, arrived, progress.put_nowait
            )
            request.state.model = ticket.model.name
            ticket.future.add_done_callback(lambda _: progress.put_nowait(None))
            async with ClientWatch([ticket], receive):
                headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                async for event in self._events(ticket, progress):
                    await send({"type": "http.response.body", "body": event, "more_body": True})
                await send({"type": "http.response.body", "body": b""})

    async def _events(
        self, ticket: Ticket, progress: asyncio.Queue[Progress | None]
    ) -> AsyncIterator[bytes]:
        while (step := await progress.get()) is not None:
            yield _event("timestep", _timestep(ticket, step))
        try:
            ticket.future.result()
            yield _event("result", answer(ticket))
        except ServiceError as error:
            self._request.app.state.metrics.rejected.labels(error.reason).inc()
            document = problem_document(self._request, error.status, str(error))
            yield _event("error", Problem.model_validate(document))


def _timestep(ticket: Ticket, step: Progress) -> Timestep:
    energy = ticket.model.energy.estimate(step.active_pairs)
    return Timestep(
        t=step.t,
        top_k=ranking(ticket.model, step.probabilities, ticket.parameters.top_k),
        entropy=step.entropy,
        spikes=step.spikes,
        energy_pj=energy.total_pj,
    )


def _event(name: str, content: BaseModel) -> bytes:
    return f"event: {name}\ndata: {content.model_dump_json()}\n\n".encode()
