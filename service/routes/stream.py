"""``POST /classify/stream``: watch the network make up its mind, as server-sent events.

One ``timestep`` event after every step, then ``result`` with what ``POST /classify`` would
have answered, or ``error`` with a problem document: the status line is gone by then.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import nullcontext
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from spikeserve.service.attempts import attempted, complain
from spikeserve.service.bodies import read_image
from spikeserve.service.classification import Ticket, answer, cancel, due, ranking
from spikeserve.service.details import Details
from spikeserve.service.direct import DirectRoute
from spikeserve.service.errors import (
    INTERNAL,
    InferenceFailed,
    ServiceError,
    count,
    problem_document,
)
from spikeserve.service.http.queries import once
from spikeserve.service.jobs import Progress
from spikeserve.service.presence import while_present
from spikeserve.service.routes.classify import BODY, PROBLEMS
from spikeserve.service.routes.models import allowed
from spikeserve.service.schemas import Problem, problems
from spikeserve.service.stream_schemas import SpikeDetail, StreamParameters, Timestep

router = APIRouter(route_class=DirectRoute, dependencies=[Depends(allowed), Depends(once)])

HEADERS = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would keep events until it has many
)
EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"description": "server-sent events", "content": {"text/event-stream": {}}}
}


@router.post(
    "/classify/stream",
    openapi_extra=BODY,
    response_class=Response,
    responses={**problems(*PROBLEMS), **EVENTS},
)
async def stream(request: Request, parameters: Annotated[StreamParameters, Query()]) -> Response:
    """Classify one image and report every timestep as it happens."""
    return EventStream(request, parameters)


class EventStream(Response):
    """Holds the request's place for as long as it sends."""

    def __init__(self, request: Request, parameters: StreamParameters) -> None:
        super().__init__()
        self._request = request
        self._parameters = parameters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        request, state, arrived = self._request, self._request.app.state, time.monotonic()
        state.gate.spend(request)
        file, parameters = await read_image(
            request,
            self._parameters,
            state.settings.max_body_bytes,
            due(self._parameters, arrived),
        )
        model = state.registry.get(parameters.model, parameters.version)
        request.state.model = model.name
        network, feed, details = model.manifest.network, Feed(receive), None
        wanted = parameters.detail == "spikes"
        with state.admission.place(), state.drawing.room(network) if wanted else nullcontext():
            ticket = await state.classifier.submit(
                file, parameters, request.state.request_id, arrived, receive, feed.put
            )
            ticket.future.add_done_callback(lambda _: feed.put(None))
            try:
                if wanted and ticket.model.manifest.network == network:  # else it was replaced
                    details = Details(ticket, state.drawing, receive)
                await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
                while (step := await feed.next()) is not None:
                    detail = await details.of(step.t) if details else None
                    event = attempted("telling a timestep", _timestep, ticket, step, detail)
                    if event is not None:
                        await self._sent(send, _message(_event("timestep", event), more=True))
                await self._sent(send, _message(self._last_event(ticket)))
            except BaseException:
                cancel([ticket])
                raise

    async def _sent(self, send: Send, message: Message) -> None:
        """A client that does not read must not keep its place.

        Raises:
            ClientDisconnect: it did not read for too long.
        """
        try:
            async with asyncio.timeout(self._request.app.state.settings.send_timeout_seconds):
                await send(message)
        except TimeoutError as error:
            raise ClientDisconnect from error

    def _last_event(self, ticket: Ticket) -> bytes:
        try:
            return _event("result", answer(ticket))
        except Exception as fault:
            error = fault if isinstance(fault, ServiceError) else InferenceFailed(INTERNAL)
            if error is not fault:  # one of ours; without an event the stream would just end
                complain(f"request {self._request.state.request_id} failed")
            count(self._request, error)
            self._request.state.ended = str(error.status)
            document = problem_document(self._request, error.status, str(error))
            return _event("error", Problem.model_validate(document))


class Feed:
    """Timesteps on their way to a client, as long as it listens; None is the last."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._waiting: deque[Progress | None] = deque()
        self._news = asyncio.get_running_loop().create_future()

    def put(self, step: Progress | None) -> None:
        self._waiting.append(step)
        if not self._news.done():
            self._news.set_result(None)

    async def next(self) -> Progress | None:
        """The next timestep.

        Raises:
            ClientDisconnect: the client left.
        """
        await while_present(self._news, self._receive)
        step = self._waiting.popleft()
        if not self._waiting:
            self._news = asyncio.get_running_loop().create_future()
        return step


def _timestep(ticket: Ticket, step: Progress, detail: SpikeDetail | None) -> Timestep:
    estimate, energy = ticket.model.energy.estimate, None
    if ticket.parameters.energy != "off":
        energy = attempted("an energy estimate", estimate, step.active_pairs)
    return Timestep(
        t=step.t,
        top_k=ranking(ticket.model, step.probabilities, ticket.parameters.top_k),
        entropy=step.entropy,
        spikes=step.spikes,
        energy_pj=None if energy is None else energy.total_pj,
        energy_interval_pj=None if energy is None else energy.interval_pj,
        detail=detail,
    )


def _event(name: str, content: BaseModel) -> bytes:
    return f"event: {name}\ndata: {content.model_dump_json()}\n\n".encode()


def _message(event: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": event, "more_body": more}
