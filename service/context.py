"""Around every request: its id, its time, its count. Pure ASGI, so that streaming works."""

from __future__ import annotations

import re
import time
from random import getrandbits
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spikeserve.service.attempts import complain
from spikeserve.service.metrics import ENDPOINTS, Metrics

NAME = b"x-request-id"
LEFT = "499"
REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


def known_id(given: str) -> str:
    """The id that a request brings, where it is one that can be passed on; else a new one."""
    return given if REQUEST_ID.fullmatch(given) else f"{getrandbits(128):032x}"


class RequestContext:
    """Sets ``request_id`` on the request's state, echoes it, and observes the outcome."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        head = scope["method"] == "HEAD"
        if head:  # what GET answers, without its body; the server looks at the scope that was
            scope = {**scope, "method": "GET"}
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        given = next((value.decode("latin-1") for key, value in headers if key == NAME), "")
        request_id = known_id(given)
        state = scope.setdefault("state", {})
        state["request_id"], state["model"], state["answering"] = request_id, "", False
        state["ended"] = ""  # a stream says here how it ended: its status line is long gone
        code = LEFT  # the client left before an answer began

        async def send_with_id(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = str(message["status"])
                state["answering"] = True
                others = [header for header in message["headers"] if header[0] != NAME]
                message["headers"] = [*others, (NAME, request_id.encode())]
                if message["status"] >= 400 and any(key == b"expect" for key, _ in headers):
                    # Its body was never asked for; what comes next would be taken for it.
                    message["headers"].append((b"connection", b"close"))
            elif head and message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except ClientDisconnect:
            code = LEFT  # it left while sending or being sent to; nobody is there to be answered
        except Exception:
            code = "500"  # answered by the outermost error handler
            raise
        finally:
            try:
                self._count(scope, state["ended"] or code, time.perf_counter() - started)
            except BaseException:
                complain("counting a request failed")

    def _count(self, scope: Scope, code: str, seconds: float) -> None:
        # Unknown paths share one label: a scanner must not create series.
        endpoint: str = getattr(scope.get("route"), "path", "other")
        model: str = scope["state"]["model"]
        if not model and endpoint in ENDPOINTS and code != LEFT:  # who left had not asked yet
            model = meant(scope, endpoint)
        self.metrics.answered(model, endpoint, code, seconds)


def meant(scope: Scope, endpoint: str) -> str:
    """The model that a request means which was refused before it was looked up: the one that it
    names, or the default; empty where none has that name."""
    query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
    named, key = (scope["path_params"], "name") if "{name}" in endpoint else (query, "model")
    label: str = scope["app"].state.registry.label(named.get(key), named.get("version"))
    return label
