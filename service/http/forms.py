"""The files of a multipart form; whatever else a form says is refused by name.

Pure, and cheap whatever a stranger sends: parts are found by their boundary, contents are not
looked at, heads are short, and reading ends at the first part too many.
"""

from __future__ import annotations

from collections.abc import Iterator

from python_multipart.multipart import parse_options_header

from spikeserve.service.errors import MalformedRequest

NAMES = (b"file", b"file[]", b"")  # PHP's and axios' lists end in []; some clients give no name
ENCODINGS = (b"7bit", b"8bit", b"binary")
MAX_HEAD = 2048
MAX_FIELDS = 64  # so that one that has no place here is named before there are too many


def files(body: bytes, content_type: str, most: int) -> list[bytes]:
    """The files, in their order; at least one.

    Raises:
        MalformedRequest: names what is missing, not understood or too many.
    """
    found = []
    for count, (head, content) in enumerate(_parts(body, _boundary(content_type)), 1):
        if count > most + MAX_FIELDS:
            raise MalformedRequest(f"the form has more than {most + MAX_FIELDS} parts")
        _check(head)
        found.append(content)
    if not found:
        raise MalformedRequest("the form has no file; it goes into a field named 'file'")
    if len(found) > most:
        others = "" if most > 1 else "; POST /classify/batch takes several"
        raise MalformedRequest(f"the form has {len(found)} files; {most} accepted here{others}")
    return found


def _boundary(content_type: str) -> bytes:
    if len(content_type) > MAX_HEAD:
        raise MalformedRequest(f"the form's Content-Type has more than {MAX_HEAD} bytes")
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise MalformedRequest("the form's Content-Type names no boundary")
    return boundary


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Head and contents of each part."""
    delimiter = b"\r\n--" + boundary
    at = body.find(delimiter[2:])
    if at < 0 or body[:at].strip(b"\r\n"):
        raise MalformedRequest("the form does not begin with its boundary")
    at += len(delimiter) - 2
    while not body.startswith(b"--", at):
        end = body.find(delimiter, at)
        if end < 0:
            raise MalformedRequest("the form is cut off: its last boundary is missing")
        gap = body.find(b"\r\n\r\n", at, min(end, at + MAX_HEAD))
        padding, _, head = body[at:gap].partition(b"\r\n")
        if gap < 0 or padding.strip(b" \t"):
            raise MalformedRequest(f"a part of the form has no head, or one over {MAX_HEAD} bytes")
        yield head, body[gap + 4 : end]
        at = end + len(delimiter)
    if body[at + 2 :].strip():
        raise MalformedRequest("bytes follow the form's last boundary")


def _check(head: bytes) -> None:
    """That a part is a file where files belong.

    Raises:
        MalformedRequest: it is text, has another name or an encoding of its own.
    """
    lines = (line.partition(b":") for line in head.split(b"\r\n"))
    fields = {field.strip().lower(): value.strip() for field, _, value in lines}
    disposition = fields.get(b"content-disposition", b"")
    name = parse_options_header(disposition)[1].get(b"name", b"")
    shown = repr(name[:100].decode("utf-8", "replace"))
    if name not in NAMES:
        raise MalformedRequest(
            f"{shown} is no field of this form: files go into 'file', parameters into the query "
            "string, as in ?top_k=3"
        )
    kind = fields.get(b"content-type", b"text/").lower()
    if kind.startswith(b"multipart/"):
        raise MalformedRequest(f"the field {shown} holds several files; repeat it for each")
    named = b"filename" in disposition  # or filename*, which the library skips
    if not named and kind.startswith(b"text/"):
        raise MalformedRequest(
            f"the field {shown} is text; a file has a filename, as in curl --form file=@photo.jpg"
        )
    encoding = fields.get(b"content-transfer-encoding", b"binary").lower()
    if encoding not in ENCODINGS:
        raise MalformedRequest(
            f"Content-Transfer-Encoding {encoding[:100].decode('latin-1')!r} is not accepted"
        )
