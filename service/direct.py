"""The short way to an endpoint: what FastAPI would do, with less in between.

On a hot path dependency solving, two exit stacks and six middlewares cost more than an
inference. A direct endpoint is documented by its signature as usual, but the application
finds it by its path, its query is validated once, and its response is sent as it is.
Where an embedding application has added something of its own, requests reach it through
FastAPI's router, with the same answers.
"""

from __future__ import annotations

from functools import cached_property
from operator import is_
from typing import Any, get_type_hints

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from spikeserve.service.context import RequestContext
from spikeserve.service.documentation import secured
from spikeserve.service.errors import InvalidParameter, ServiceError, describe, refusal, unexpected
from spikeserve.service.http.queries import query
from spikeserve.service.metrics import Metrics
from spikeserve.service.schemas import ClassifyParameters


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
    """Calls ``endpoint(request, parameters)``, which returns a ``Response``.

    By the usual way FastAPI calls it, so a router of such routes has ``allowed`` and ``once`` among
    its dependencies; :meth:`answer` asks the gate itself and reads the query strictly, as what the
    endpoint says that ``parameters`` are.
    """

    @cached_property
    def _defaults(self) -> ClassifyParameters:
        defaults: ClassifyParameters = get_type_hints(self.endpoint)["parameters"]()
        return defaults

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The endpoint as an ASGI application."""
        request = Request(scope, receive, send)
        try:
            request.app.state.gate.check(request)
            response = await self.endpoint(request, parameters_of(request, self._defaults))
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
    """FastAPI with a table of direct routes in front, as long as it is left as it was made.

    What an embedding application adds (middleware, exception handlers, dependencies, routes in
    front, telemetry) the short way would skip; it is not taken then.

    Args:
        root_path: the prefix below which a proxy shows this application, stripped or not.
        keys: callers need an API key.
    """

    def __init__(
        self, metrics: Metrics, root_path: str = "", *, keys: bool = False, **options: Any
    ) -> None:
        super().__init__(**options)
        self._keys = keys
        self._prefix = root_path  # FastAPI's own ``root_path`` is deprecated
        self._direct: dict[str, DirectRoute] = {}
        self._in_context = RequestContext(self._answer, metrics)
        self._routers: tuple[APIRouter, ...] = ()
        self._first = 0
        self._made: tuple[list[Any], list[BaseRoute]] = [], []
        self._built: ASGIApp | None = None
        self._judged: object = self  # no middleware stack yet
        self._plain = False

    def complete(self, *routers: APIRouter) -> None:
        """Include routers, direct routes also by their path; the last thing to be done."""
        self._routers, self._first = routers, len(self.router.routes)
        for router in routers:
            self.include_router(router)
            found = (route for route in router.routes if isinstance(route, DirectRoute))
            self._direct |= {route.path: route for route in found}
        self._made = self._parts(), list(self.router.routes)

    def openapi(self) -> dict[str, Any]:
        return secured(super().openapi(), keys=self._keys)

    def build_middleware_stack(self) -> ASGIApp:
        if self.router.dependencies and not self._built:
            self._include_again()
        self._built = super().build_middleware_stack()
        return self._built

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._prefix and not scope.get("root_path"):
            scope["root_path"] = self._prefix
        route = self._direct.get(scope.get("path", "").removeprefix(scope.get("root_path", "")))
        if route is None or scope.get("method") != "POST" or not self._short:
            await super().__call__(scope, receive, send)
            return
        scope["app"], scope["route"] = self, route
        await self._in_context(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await scope["route"].answer(scope, receive, send)

    @property
    def _short(self) -> bool:
        """Whether the short way skips nothing; judged once, and when the stack is another."""
        if self.middleware_stack is not self._judged:
            self._judged, self._plain = self.middleware_stack, self._as_made
        return self._plain and not self.dependency_overrides

    @property
    def _as_made(self) -> bool:
        telemetry = getattr(self, "_native_telemetry", None)  # FastAPI's, of late
        if "build_middleware_stack" in vars(self) or (telemetry and telemetry.enabled()):
            return False
        parts, routes = self._made
        now = [self.middleware_stack, *self._parts(), *self.router.routes[: len(routes)]]
        made = [self._built, *parts, *routes]
        return len(now) == len(made) and all(map(is_, now, made))

    def _parts(self) -> list[Any]:
        """What else a request meets on the usual way."""
        router, handlers = self.router, self.exception_handlers
        limits = self.debug, getattr(self, "max_body_size", None)
        around = router, router.middleware_stack, *self.user_middleware, *router.dependencies
        return [*limits, *around, *handlers, *handlers.values()]

    def _include_again(self) -> None:
        """Give our routes the dependencies that there are now, not only those there were when
        FastAPI included them: an embedding application adds its own later."""
        ours, routes = self._made[1][self._first :], self.router.routes
        at = next((k for k, route in enumerate(routes) if route is ours[0]), len(routes))
        behind = routes[at + len(ours) :]
        if all(map(is_, routes[at:], [*ours, *behind])):  # else some were taken out on purpose
            del routes[at:]
            for router in self._routers:
                self.include_router(router)
            routes += behind


def parameters_of(request: Request, defaults: ClassifyParameters) -> ClassifyParameters:
    """The query as parameters of the same kind as ``defaults``, which an empty one gives.

    Raises:
        InvalidParameter: names each wrong one.
    """
    if not request.scope["query_string"]:
        return defaults
    try:
        return type(defaults).model_validate(query(request))
    except ValidationError as error:
        raise InvalidParameter(describe(error.errors())) from error
