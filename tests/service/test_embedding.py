"""The application inside of somebody else's: nothing that is added is skipped, on any path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from spikeserve.service.app import create_app
from spikeserve.service.direct import DirectRoute
from spikeserve.service.errors import ServiceError
from spikeserve.service.keys import key_hash
from spikeserve.service.routes.models import allowed
from spikeserve.service.settings import Settings

PATHS = ("/classify", "/classify/stream", "/classify/batch")


def made(folder: Path, **settings: Any) -> FastAPI:
    return create_app(Settings(bundles=(folder,), slots=2, **settings))


@contextmanager
def serving(app: Any) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths that were answered by the short way."""
    seen: list[str] = []
    usual = DirectRoute.answer

    async def answer(self: DirectRoute, scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(self.path)
        await usual(self, scope, receive, send)

    monkeypatch.setattr(DirectRoute, "answer", answer)
    return seen


def post(client: TestClient, path: str, png: bytes, **options: Any) -> Any:
    if path.endswith("batch"):
        return client.post(path, files=[("file", png)], **options)
    return client.post(path, content=png, **options)


class Marking:
    """Pure ASGI middleware that marks every answer."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def marked(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-marked", b"yes")]
            await send(message)

        await self.app(scope, receive, marked)


async def marked(_: Request, call_next: Callable[[Request], Any]) -> Any:
    response = await call_next(_)
    response.headers["x-marked"] = "yes"
    return response


def wrapped_late(app: FastAPI) -> None:
    """As telemetry does."""
    usual = app.build_middleware_stack
    app.build_middleware_stack = lambda: Marking(usual())  # type: ignore[method-assign]


def wrapped_once_built(app: FastAPI) -> None:
    app.middleware_stack = Marking(app.build_middleware_stack())


def marking_router(app: FastAPI) -> None:
    app.router.middleware_stack = Marking(app.router.middleware_stack)


MARKS: dict[str, Callable[[FastAPI], Any]] = {
    "middleware": lambda app: app.add_middleware(Marking),
    "@app.middleware": lambda app: app.middleware("http")(marked),
    "patched stack": wrapped_late,
    "wrapped stack": wrapped_once_built,
    "router's middleware": marking_router,
}


@pytest.mark.parametrize("way", MARKS)
def test_added_middleware_sees_every_path(
    way: str, bundle_folder: Path, png: bytes, short: list[str]
) -> None:
    app = made(bundle_folder)
    MARKS[way](app)
    with serving(app) as client:
        for path in PATHS:
            answer = post(client, path, png)
            assert answer.status_code == 200, answer.text
            assert answer.headers["x-marked"] == "yes", path
            assert answer.headers["x-request-id"]
        assert client.get("/livez").headers["x-marked"] == "yes"
    assert not short


@pytest.mark.parametrize("kind", [ServiceError, Exception, 415, 500, HTTPException])
def test_added_exception_handlers_are_asked(
    kind: Any, bundle_folder: Path, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handled(_: Request, error: Exception) -> PlainTextResponse:
        return PlainTextResponse(type(error).__name__, 418)

    app = made(bundle_folder)
    app.add_exception_handler(kind, handled)
    with serving(app) as client:
        if kind is ServiceError:
            assert client.post("/classify", content=b"text").text == "UnsupportedMedia"
        elif kind in (Exception, 500):
            monkeypatch.setattr(app.state.gate, "spend", None)
            assert client.post("/classify", content=png).text == "TypeError"
        elif kind is HTTPException:
            assert client.get("/classify").status_code in (405, 418)
        else:  # ours are no HTTPException: status handlers are for those
            assert client.post("/classify", content=b"text").status_code == 415


@pytest.mark.parametrize("path", PATHS)
def test_added_dependencies_are_asked_first(path: str, bundle_folder: Path, png: bytes) -> None:
    def refuse(request: Request) -> None:
        if "x-letter" not in request.headers:
            raise HTTPException(403, "no letter")

    app = made(bundle_folder)
    app.router.dependencies.append(Depends(refuse))
    with serving(app) as client:
        answer = post(client, path, png)
        assert (answer.status_code, answer.json()["detail"]) == (403, "no letter")
        assert post(client, path, png, headers={"X-Letter": "yes"}).status_code == 200
        assert client.get("/v1/models").status_code == 403
        assert client.get("/openapi.json").status_code == 200


def test_an_overridden_dependency_is_overridden_between_two_requests(
    bundle_folder: Path, png: bytes, short: list[str]
) -> None:
    app = made(bundle_folder, api_key_hashes=(key_hash("k"),))
    with serving(app) as client:
        assert client.post("/classify", content=png).status_code == 401
        app.dependency_overrides[allowed] = lambda: None
        assert client.post("/classify", content=png).status_code == 200
        app.dependency_overrides.clear()
        assert client.post("/classify", content=png).status_code == 401
    assert short == ["/classify"] * 2


def test_a_route_in_front_wins_and_one_behind_does_not(
    bundle_folder: Path, png: bytes, short: list[str]
) -> None:
    async def other() -> JSONResponse:
        return JSONResponse({"mine": True})

    app = made(bundle_folder)
    app.add_api_route("/classify", other, methods=["POST"])
    with serving(app) as client:
        assert "mine" not in client.post("/classify", content=png).json()
    assert short == ["/classify"]
    app = made(bundle_folder)
    app.router.routes.insert(0, APIRoute("/classify", other, methods=["POST"]))
    with serving(app) as client:
        assert client.post("/classify", content=png).json() == {"mine": True}
    app = made(bundle_folder)
    app.router.routes.insert(0, Mount("/classify", app=JSONResponse({"mounted": True})))
    with serving(app) as client:
        assert client.post("/classify/batch", content=png).json() == {"mounted": True}
    app = made(bundle_folder)
    app.router.routes.clear()
    with serving(app) as client:
        assert client.post("/classify", content=png).status_code == 404


def test_what_is_added_behind_leaves_the_short_way(
    bundle_folder: Path, png: bytes, short: list[str]
) -> None:
    app = made(bundle_folder)
    app.mount("/pages", PlainTextResponse("page"))
    app.add_api_route("/mine", lambda: {"mine": True})
    with serving(app) as client:
        for path in PATHS:
            assert post(client, path, png).status_code == 200
        assert client.get("/mine").json() == {"mine": True}
        assert client.get("/pages/x").text == "page"
    assert short == list(PATHS)


ASKS = (
    "", "?top_k=3", "?top_k=0", "?entropy_threshold=7", "?unknown=1", "?top_k=2&top_k=1",
    "?model=nobody", "?target_accuracy=1", "?max_timesteps=2&energy=off",
    "?min_timesteps=3&max_timesteps=2", "?deadline_ms=x&on_deadline=y&a=1&b=2&c=3&d=4",
)  # fmt: skip
CHANGING = ("timing_ms", "request_id")


def test_both_ways_give_the_same_answers(bundle_folder: Path, png: bytes) -> None:
    plain, other = made(bundle_folder), made(bundle_folder)
    other.add_middleware(Marking)
    with serving(plain) as one, serving(other) as two:
        for query in ASKS:
            for content in (png, b"", b"text", png[:80]):
                answers = [c.post(f"/classify{query}", content=content) for c in (one, two)]
                assert answers[0].status_code == answers[1].status_code, query
                bodies = [answer.json() for answer in answers]
                for body in bodies:
                    for name in CHANGING:
                        body.pop(name, None)
                assert bodies[0] == bodies[1], query
                heads = [set(answer.headers) - {"x-marked"} for answer in answers]
                assert heads[0] == heads[1], query


@pytest.mark.parametrize("prefix", ["/vision", "/a/b"])
def test_mounted_it_asks_for_keys_and_answers_as_alone(
    prefix: str, bundle_folder: Path, png: bytes, short: list[str]
) -> None:
    service = made(bundle_folder, api_key_hashes=(key_hash("k"),))
    lifespan = service.router.lifespan_context
    outer = FastAPI(lifespan=lambda _: lifespan(service))  # type: ignore[arg-type]
    outer.mount(prefix, service)
    key = {"Authorization": "Bearer k"}
    with serving(outer) as client:
        for path in PATHS:
            assert post(client, prefix + path, png).status_code == 401
            assert post(client, prefix + path, png, headers=key).status_code == 200
        assert client.get(f"{prefix}/livez").status_code == 200
        assert client.get(f"{prefix}/docs/start.js").status_code == 200
        assert client.get(f"{prefix}/openapi.json").json()["servers"] == [{"url": prefix}]
        assert client.post("/classify", content=png).status_code == 404
    assert short == [path for path in PATHS for _ in range(2)]


def test_by_the_usual_way_it_asks_for_keys_as_well(bundle_folder: Path, png: bytes) -> None:
    app = made(bundle_folder, api_key_hashes=(key_hash("k"),))
    app.add_middleware(Marking)
    with serving(app) as client:
        for path in PATHS:
            answer = post(client, path, png)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert client.post(f"{path}?top_k=0", content=png).status_code == 401


def test_without_its_lifespan_it_says_so(bundle_folder: Path, png: bytes) -> None:
    client = TestClient(made(bundle_folder))
    for path in PATHS:
        answer = post(client, path, png)
        assert answer.status_code == 503
        assert "lifespan" in answer.json()["detail"]
    assert client.get("/readyz").status_code == 503


def test_two_in_one_process_count_and_answer_for_themselves(
    bundle_folder: Path, png: bytes
) -> None:
    with serving(made(bundle_folder)) as one, serving(made(bundle_folder)) as two:
        assert one.post("/classify", content=png).status_code == 200
        wanted = 'code="200",endpoint="/classify",model="tiny"} 1.0'
        assert wanted in one.get("/metrics").text
        assert wanted not in two.get("/metrics").text


def test_streams_stay_streams_behind_added_middleware(bundle_folder: Path, png: bytes) -> None:
    app = made(bundle_folder)
    app.add_middleware(GZipMiddleware, minimum_size=1)
    with serving(app) as client:
        answer = client.post("/classify/stream", content=png)
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["x-accel-buffering"] == "no"
        assert answer.headers["cache-control"] == "no-store"
        assert "content-encoding" not in answer.headers
