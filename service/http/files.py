"""Files of the package as browsers get them: a table, read once, so that no path leads out."""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".jpg": "image/jpeg",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
}
"""By what a name ends with; other files are not shown. Of our own, since Python's table follows the
operating system's, and browsers refuse a module of another type. Texts go out as UTF-8."""
HEADERS = {
    "Cache-Control": "no-cache",  # kept, but asked for: files of two releases never mix
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}
WORTHWHILE = 0.9
GZIP = re.compile(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))", re.IGNORECASE)


@dataclass(frozen=True)
class File:
    """One file."""

    body: bytes
    media_type: str

    @cached_property
    def tag(self) -> str:
        """What its content is known by, compressed or not."""
        return f'W/"{sha256(self.body).hexdigest()[:32]}"'

    @cached_property
    def packed(self) -> bytes | None:
        """Compressed by gzip; None where that saves nothing, as of pictures."""
        packed = gzip.compress(self.body, mtime=0)
        return packed if len(packed) < len(self.body) * WORTHWHILE else None

    def answer(self, request: Request, headers: Mapping[str, str]) -> Response:
        """The file, or 304 to whoever has it already.

        Args:
            headers: what its folder says besides, such as a content security policy.
        """
        said = {**HEADERS, **headers, "ETag": self.tag}
        known = [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]
        if "*" in known or self.tag.removeprefix("W/") in {tag.removeprefix("W/") for tag in known}:
            return Response(status_code=304, headers=said)
        body = self.body
        if self.packed and GZIP.search(request.headers.get("accept-encoding", "")):
            body, said["Content-Encoding"] = self.packed, "gzip"
        return Response(body, media_type=self.media_type, headers=said)


def files_in(folder: Path) -> dict[str, File]:
    """The files of a folder and those below it, by their path in it."""
    return {
        path.relative_to(folder).as_posix(): File(path.read_bytes(), MEDIA_TYPES[path.suffix])
        for path in folder.rglob("*")
        if path.suffix in MEDIA_TYPES
    }
