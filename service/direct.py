"""The short way to an endpoint: what FastAPI would do, with less in between.

On a hot path dependency solving, two exit stacks and six middlewares cost more than an
inference. A direct endpoint is documented by its signature as usual, but the application
finds it by its path, its query is validated once, and its response is sent as it is.
Requests that come by another way, e.g. below a mount, reach it through FastAPI's router.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from spikeserve.service.bodies import validated
from spikeserve.service.context import RequestContext
from spikeserve.service.errors import ServiceError, refusal, unexpected
from spikeserve.service.metrics import Metrics
from spikeserve.service.queries import query
from spikeserve.service.schemas import ClassifyParameters

DEFAULTS = ClassifyParameters()


class JsonAnswer(Response):
    """A 200 with a JSON body; headers as they go over the wire."""

    def __init__(self, body: bytes, *headers: tuple[bytes, bytes]) -> None:
        self.status_code = 200
        self.background = None
        self.body = body
        length = str(len(body)).encode()
        kind = (b"content-type", b"application/json")
        self.raw_headers = [(b"content-length", length), kind, *headers]


class DirectRoute(APIRoute):
    """Calls ``endpoint(request, parameters)``, which returns a ``Response``."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self.direct: Callable[..., Awaitable[Response]] = endpoint
        self.app = self.answer

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The endpoint as an ASGI application."""
        request = Request(scope, receive, send)
        try:
            request.app.state.gate.check(request)
            response = await self.direct(request, parameters_of(request))
            await response(scope, receive, send)
        except ServiceError as error:
            await refusal(request, error)(scope, receive, send)
        except ClientDisconnect:
            raise
        except Exception as error:
            if request.state.answering:
                raise
            await unexpected(request, error)(scope, receive, send)


class Application(FastAPI):
    """FastAPI with a table of direct routes in front."""

    def __init__(self, metrics: Metrics, **options: Any) -> None:
        super().__init__(**options)
        self._direct: dict[str, DirectRoute] = {}
        self._in_context = RequestContext(self._answer, metrics)

    def include_direct(self, *routes: Any) -> None:
        """Find these routes by their path, before anything else looks at a request."""
        self._direct |= {route.path: route for route in routes if isinstance(route, DirectRoute)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._direct.get(scope.get("path", ""))
        if route is None or scope.get("method") != "POST" or self.root_path:
            await super().__call__(scope, receive, send)
            return
        scope["app"], scope["route"] = self, route
        await self._in_context(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await scope["route"].answer(scope, receive, send)


def parameters_of(request: Request) -> ClassifyParameters:
    """The query as parameters.

    Raises:
        InvalidParameter: names each wrong one.
    """
    if not request.scope["query_string"]:
        return DEFAULTS
    return validated(query(request), ClassifyParameters, strict=False)
