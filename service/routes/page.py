"""``GET /``: the page, and its files below ``/page``. No part of the API."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Request, Response

from spikeserve.service.http.files import File, files_in

# Neither keys nor limits: the page asks for a key itself, and its files are everybody's. No `reads`
# either, which refuses unknown parameters elsewhere: mail and chat programs hang theirs on links.
router = APIRouter(include_in_schema=False)

FOLDER = Path(__file__).parents[1] / "page"
FILES = files_in(FOLDER)
INDEX = FILES.pop("index.html")
BASE = b'<base href="/">'
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'self'; form-action 'none'; "
    "frame-ancestors 'self'; object-src 'none'",
    "Permissions-Policy": "camera=(self)",
}


@router.get("/")
async def page(request: Request) -> Response:
    """The page, whose relative URLs start where this application does."""
    base = b'<base href="%s">' % base_url(request.scope.get("root_path", "")).encode()
    index = File(INDEX.body.replace(BASE, base), INDEX.media_type)
    return index.answer(request, HEADERS)


@router.get("/page/{path:path}")
async def file(request: Request, path: str) -> Response:
    """Whatever the page loads."""
    if path not in FILES:
        raise HTTPException(404)
    return FILES[path].answer(request, HEADERS)


def base_url(root_path: str) -> str:
    """The path that a prefix is, for an attribute: `/` or `/prefix/`. Two slashes in front would
    name another host."""
    return re.sub("/+", "/", f"/{quote(root_path)}/")
