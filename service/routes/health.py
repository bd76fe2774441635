"""Liveness, readiness, metrics and status: never limited, never queued."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client.exposition import choose_encoder
from starlette.datastructures import State

from spikeserve.service.errors import NotReady, problem
from spikeserve.service.http.queries import reads
from spikeserve.service.schemas import problems
from spikeserve.service.status import Status, status_of

router = APIRouter(dependencies=[Depends(reads())])
RETRY = NotReady("").headers


@router.get("/livez", response_class=PlainTextResponse, responses=problems(422, 503))
async def livez(request: Request) -> Response:
    """200 while every model's worker runs, and its engine neither hangs nor keeps failing."""
    if names := broken(request):
        return problem(request, 503, f"the engine hangs, fails or stopped: {', '.join(names)}")
    return PlainTextResponse("ok")


@router.get("/healthz", include_in_schema=False, response_model=None)
@router.get("/readyz", response_model=None, responses=problems(422, 503))
async def readyz(request: Request) -> Response:
    """200 when models are loaded and requests are admitted."""
    if why := unready(request):
        # A probe is no refused request: answered here, past the rejection counter.
        return problem(request, NotReady.status, why, RETRY)
    models = [{"name": m.name, "version": m.version} for m in request.app.state.registry]
    return JSONResponse({"ready": True, "models": models})


@router.get("/metrics", response_class=PlainTextResponse, responses=problems(422))
async def metrics(request: Request) -> Response:
    """Prometheus exposition; OpenMetrics where the client asks for it."""
    request.app.state.refresh()
    try:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
    except (TypeError, ValueError):  # a version it cannot parse
        encode, content_type = choose_encoder("")
    body: bytes = encode(request.app.state.metrics.registry)
    return Response(body, headers={"Content-Type": content_type})


@router.get("/v1/status", responses=problems(422))
async def status(request: Request) -> Status:
    """Some numbers of /metrics as JSON: counters since the start, and what goes on now."""
    state = request.app.state
    state.refresh()
    models = [model.manifest for model in state.registry]
    return status_of(state.metrics, models, ready=unready(request) is None)


def broken(request: Request) -> list[str]:
    """See :func:`broken_parts`."""
    return broken_parts(request.app.state)


def broken_parts(state: State) -> list[str]:
    """What does not work and never will again, by name: models, and who watches over them."""
    names = [m.name for m in state.registry if not m.worker.healthy]
    if state.watchdog is not None and state.watchdog.done():
        names.append("the watchdog")
    return names


def unready(request: Request) -> str | None:
    """Why requests are not admitted or would fail; None where all is well."""
    if names := broken(request):
        return f"broken: {', '.join(names)}"
    return None if request.app.state.ready else "shutting down"
