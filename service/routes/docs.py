"""``GET /docs``: Swagger UI, from the package; FastAPI's own page loads it from a CDN."""

from __future__ import annotations

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from spikeserve.service.http.files import files_in

FOLDER = Path(__file__).parents[1] / "swagger"
FILES = files_in(FOLDER)
INDEX = FILES.pop("index.html")
HEADERS = {
    # Swagger's style sheet has its icons as data: URLs.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'; object-src 'none'",
}


async def docs(request: Request) -> Response:
    """The page; its URLs are relative, so that it works below any prefix."""
    return INDEX.answer(request, HEADERS)


async def file(request: Request) -> Response:
    """What it loads."""
    found = FILES.get(request.path_params["name"])
    if found is None:
        raise HTTPException(404)
    return found.answer(request, HEADERS)


ROUTES = (
    Route("/docs", docs, include_in_schema=False),
    Route("/docs/{name}", file, include_in_schema=False),
)
"""Beside ``/openapi.json`` and as open: no router that other people's dependencies are added to."""
