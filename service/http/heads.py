"""Whether the head of a request is one that HTTP allows (RFC 9112), and small enough to look at.

The parser sees to tokens and framing. Here is what it lets pass.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from spikeserve.service.errors import BadHttp, HeadTooLarge

Headers = Sequence[tuple[bytes, bytes]]

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 256
VERSIONS = ("1.0", "1.1")
AUTHORITY = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[\w.~!$&'()*+,;=%-]+)(:[0-9]{0,5})?", re.ASCII)
SINGLE = (b"host", b"content-type", b"content-encoding", b"authorization", b"expect")
"""Two of these are two answers to one question, and whoever stands in between may see the other."""


def check_size(target: bytes, headers: Headers) -> None:
    """Let a head pass that is not too large.

    Raises:
        HeadTooLarge: more than ``MAX_HEAD_BYTES``.
    """
    if len(target) + sum(len(name) + len(value) for name, value in headers) > MAX_HEAD_BYTES:
        raise HeadTooLarge(f"the head is larger than {MAX_HEAD_BYTES} bytes")


def check_head(version: str, method: bytes, headers: Headers) -> None:
    """Let a head pass that is as it should be; names of ``headers`` are in lower case.

    Raises:
        BadHttp: a version, method or field that is wrong here.
        HeadTooLarge: more than ``MAX_HEADERS`` fields.
    """
    given = dict(headers)
    if len(headers) > MAX_HEADERS:
        raise HeadTooLarge(f"more than {MAX_HEADERS} headers")
    if len(given) != len(headers):
        names = [name for name, _ in headers]
        for name in SINGLE:
            if names.count(name) > 1:
                raise BadHttp(f"more than one {name.decode()} header")
    if version not in VERSIONS:
        raise BadHttp(f"HTTP {version} is not spoken here; use 1.1")
    if method == b"CONNECT":
        raise BadHttp("CONNECT is for proxies")
    host = given.get(b"host")
    if host is None:
        if version != "1.0":
            raise BadHttp("a Host header is needed")
    elif not AUTHORITY.fullmatch(host):
        raise BadHttp("the Host header names no host")
    coding = given.get(b"transfer-encoding")
    if coding is not None and (version == "1.0" or coding.lower() != b"chunked"):
        raise BadHttp("of all transfer encodings only chunked is understood, and in HTTP 1.1 only")


def origin_form(target: bytes) -> bytes:
    """A target that is no path as a path: whom it names besides is whoever reads this.

    Raises:
        BadHttp: it is no target.
    """
    if target == b"*":
        return b"/"
    scheme, found, rest = target.partition(b"://")
    if not found or scheme.lower() not in (b"http", b"https"):
        raise BadHttp("the request's target is no path")
    start = re.search(rb"[/?#]|$", rest)
    assert start is not None
    if not AUTHORITY.fullmatch(rest[: start.start()].rpartition(b"@")[2]):
        raise BadHttp("the request's target names no host")
    path = rest[start.start() :]
    return path if path.startswith(b"/") else b"/" + path


def without_offer(version: str, method: bytes, target: bytes, headers: Headers) -> bytes:
    """The head again, without an offer to upgrade (RFC 9110, 7.8): it is not taken."""
    lines = [b"%s %s HTTP/%s" % (method, target, version.encode())]
    lines += [b"%s: %s" % header for header in headers if header[0] != b"upgrade"]
    return b"\r\n".join([*lines, b"", b""])
