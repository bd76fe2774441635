"""Pages of other origins may call, where the operator names them: CORS around everything.

Around everything, since Starlette puts middleware inside of what answers 500; and a class of its
own, so that without this setting requests meet nothing.
"""

from __future__ import annotations

from typing import Any

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from spikeserve.service.context import RequestContext
from spikeserve.service.direct import Application
from spikeserve.service.errors import problem
from spikeserve.service.metrics import Metrics

METHODS = ("GET", "HEAD", "POST")
ASKED = (
    "Authorization", "Content-Encoding", "Content-Type", "Inference-Header-Content-Length",
    "X-Request-Id",
)  # fmt: skip
EXPOSED = (
    "Allow", "Inference-Header-Content-Length", "Retry-After", "Server-Timing", "WWW-Authenticate",
    "X-Request-Id", "X-Timesteps-Used",
)  # fmt: skip


class CrossOriginApplication(Application):
    """An application that pages of some origins may call."""

    def __init__(self, metrics: Metrics, origins: tuple[str, ...], **options: Any) -> None:
        super().__init__(metrics, **options)
        self._shared = CORSMiddleware(
            super().__call__,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=ASKED,
            allow_private_network=True,  # whoever names an origin means it, on localhost too
            expose_headers=EXPOSED,
        )
        self._asked = RequestContext(self._preflight, metrics)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        asks = "origin" in headers and "access-control-request-method" in headers
        if asks and scope["method"] == "OPTIONS":
            scope["app"] = self
            await self._asked(scope, receive, send)
        else:
            await self._shared(scope, receive, send)

    async def _preflight(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Before a browser sends what a page asks for; counted and answered like any request."""
        request = Request(scope)
        response = self._shared.preflight_response(request.headers)
        if response.status_code >= 400:
            vary = {"Vary": response.headers["vary"]}
            response = problem(request, 400, bytes(response.body).decode(), vary)
        await response(scope, receive, send)
