"""Requests as an ASGI server brings them, piece by piece, by clients that may stop or leave."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI
from starlette.types import ASGIApp, Message

from spikeserve.models.engines.fake import FakeEngine
from spikeserve.service.app import create_app
from spikeserve.service.settings import Settings
from tests.conftest import encoded
from tests.processes import PATIENCE_SECONDS

LARGE = encoded(np.zeros((100, 100, 3), np.uint8), "JPEG") + bytes(500_000)
"""A photograph with a film behind it."""
BOUNDARY = "frontier"
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
INFER = "/v2/models/tiny/infer"


class Exchange:
    """One request and its answer.

    Args:
        pieces: of the body; the last one completes it unless ``whole`` is false.
    """

    def __init__(
        self,
        path: str,
        *pieces: bytes,
        query: str = "",
        headers: dict[str, str] | None = None,
        whole: bool = True,
    ) -> None:
        self.path = path
        self.query = query
        self.headers = headers or {}
        self._pieces = list(pieces)
        self._whole = whole
        self._left = asyncio.Event()
        self.status = 0
        self.body = b""

    def leave(self) -> None:
        self._left.set()

    def json(self) -> Any:
        return json.loads(self.body)

    async def run(self, app: ASGIApp) -> Exchange:
        scope = {
            "type": "http",
            "method": "POST",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": self.query.encode(),
            "headers": [(k.lower().encode(), v.encode()) for k, v in self.headers.items()],
            "http_version": "1.1",
            "scheme": "http",
            "server": ("localhost", 80),
            "client": ("localhost", 1),
            "root_path": "",
            "asgi": {"version": "3.0"},
        }
        await app(scope, self._receive, self._send)
        return self

    async def _receive(self) -> Message:
        if self._pieces:
            piece = self._pieces.pop(0)
            more = bool(self._pieces) or not self._whole
            return {"type": "http.request", "body": piece, "more_body": more}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.body += message.get("body", b"")


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def form(*files: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    parts = b"".join(head.encode() + data + b"\r\n" for data in files)
    return parts + f"--{BOUNDARY}--\r\n".encode()


def as_json(path: str, content: Any, **options: Any) -> Exchange:
    return Exchange(path, json.dumps(content).encode(), headers=JSON, **options)


def tensor(datatype: str, shape: tuple[int, ...], data: list[Any]) -> dict[str, Any]:
    return {"inputs": [{"name": "image", "datatype": datatype, "shape": shape, "data": data}]}


@asynccontextmanager
async def service(bundle: Path, **settings: Any) -> AsyncIterator[tuple[FastAPI, threading.Event]]:
    """A service whose engine waits until it is released."""
    app = create_app(Settings(bundles=(bundle,), slots=1, **settings))
    released = threading.Event()
    worker = app.state.registry.get().worker
    worker.engine = FakeEngine(worker.engine.network, before_step=lambda *_: released.wait())
    async with app.router.lifespan_context(app):
        try:
            yield app, released
        finally:
            released.set()


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not happened():
            await asyncio.sleep(0.001)
