"""Nothing that is refused stays in memory until somebody looks for cycles."""

from __future__ import annotations

import base64
import gc
import json
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from spikeserve.service.app import create_app
from spikeserve.service.errors import ServiceError
from spikeserve.service.settings import Settings

NO_IMAGE = base64.b64encode(b"no image").decode()
Ask = Callable[[TestClient, bytes], Any]


def batch(client: TestClient, *items: str, query: str = "") -> Any:
    return client.post(f"/classify/batch{query}", json={"items": [{"inputs": i} for i in items]})


def infer(client: TestClient, png: bytes, parameters: dict[str, Any]) -> Any:
    data = [base64.b64encode(png).decode()]
    image = {"name": "image", "datatype": "BYTES", "shape": [1], "data": data}
    document = {"inputs": [image], "parameters": parameters}
    return client.post("/v2/models/tiny/infer", content=json.dumps(document))


ASKS: dict[str, Ask] = {
    "no image": lambda client, _: client.post("/classify", content=b"no image"),
    "no image in a batch": lambda client, _: batch(client, NO_IMAGE),
    "no base64 in a batch": lambda client, _: batch(client, "!", NO_IMAGE),
    "too late": lambda client, png: client.post("/classify?deadline_ms=0.001", content=png),
    "too late in a batch": lambda client, png: batch(
        client, base64.b64encode(png).decode(), query="?deadline_ms=0.001"
    ),
    "broken engine": lambda client, png: client.post("/classify?top_k=3", content=png),
    "broken engine in a batch": lambda client, png: batch(client, base64.b64encode(png).decode()),
    "broken engine, protocol": lambda client, png: infer(client, png, {}),
    "too late, protocol": lambda client, png: infer(client, png, {"deadline_ms": 0.001}),
    "stream": lambda client, png: client.post("/classify/stream", content=png),
}


@pytest.fixture
def broken(bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A service whose engine fails at every step."""
    app = create_app(Settings(bundles=(bundle_folder,), slots=2))
    with TestClient(app) as client:
        worker = app.state.registry.get().worker

        def fail(*_: object) -> None:
            raise RuntimeError("no step")

        monkeypatch.setattr(worker.engine, "step", fail)
        yield client


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_a_refused_request_leaves_no_frames(
    broken: TestClient, png: bytes, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[weakref.ref[ServiceError]] = []
    new = ServiceError.__new__

    def watched(kind: type[ServiceError], *arguments: object) -> ServiceError:
        error = new(kind, *arguments)
        errors.append(weakref.ref(error))
        return error

    monkeypatch.setattr(ServiceError, "__new__", watched)
    gc.collect()
    gc.disable()
    try:
        ask(broken, png)
        assert errors, "nothing was refused"
        kept = [error() for error in errors]
        assert not [e for e in kept if e is not None and e.__traceback__ is not None]
    finally:
        gc.enable()
