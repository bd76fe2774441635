"""Bodies that come compressed by gzip or deflate: undone, and never to more than is allowed."""

from __future__ import annotations

import zlib

from fastapi import Request

from spikeserve.service.errors import (
    BodyTooLarge,
    MalformedRequest,
    UnsupportedCoding,
    UnsupportedMedia,
)

WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # what zlib calls these formats


def coding(request: Request) -> str | None:
    """How the body is compressed, if it is.

    Raises:
        UnsupportedCoding: in a way, or in more ways, than we undo.
    """
    given: list[str] = [
        name.strip().lower()
        for key, value in request.scope["headers"]
        if key == b"content-encoding"
        for name in value.decode("latin-1").split(",")
    ]
    codings = [name for name in given if name not in ("", "identity")]
    if not codings:
        return None
    if len(codings) > 1 or codings[0] not in WINDOWS:
        raise UnsupportedCoding(
            f"Content-Encoding {', '.join(codings)[:100]!r} is not accepted; "
            f"send {' or '.join(UnsupportedCoding.ACCEPTED)}, once"
        )
    return codings[0]


def inflated(body: bytes, coding: str, max_bytes: int) -> bytes:
    """The body before it was compressed.

    Raises:
        BodyTooLarge: it has more bytes than that; noticed there, not at its end.
        UnsupportedMedia: it is not compressed that way at all.
        MalformedRequest: it is damaged, or bytes follow.
    """
    stream = zlib.decompressobj(WINDOWS[coding])
    try:
        content = stream.decompress(body[:2])  # the mark of the format
    except zlib.error as error:
        raise UnsupportedMedia(f"the body is not {coding}, as its Content-Encoding says") from error
    try:
        content += stream.decompress(body[2:], max_bytes + 1)
    except zlib.error as error:
        raise MalformedRequest(f"the {coding} body is damaged: {error}") from error
    if len(content) > max_bytes:
        raise BodyTooLarge(f"the body is larger than {max_bytes} bytes before its {coding}")
    if not stream.eof:
        raise MalformedRequest(f"the {coding} body is cut off")
    if stream.unused_data:
        raise MalformedRequest(f"bytes follow the {coding} stream in the body")
    return content
