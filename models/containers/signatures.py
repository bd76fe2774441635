"""Which kind of file this is, by its first bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from spikeserve.models.errors import InvalidImage, UnknownFormat

OURS = (
    ("PNG", re.compile(rb"\x89PNG(?!\r\n\x1a\n\Z)")),  # a signature alone is no image yet
    ("JPEG", re.compile(rb"\xff\xd8")),
    ("WEBP", re.compile(rb"RIFF.{4}WEBP", re.DOTALL)),
    ("GIF", re.compile(rb"GIF8[79]a")),
    # Two letters begin many a text; but what is reserved is zero, or a header of a known length.
    (
        "BMP",
        re.compile(rb"BM(?:.{4}\0{4}|.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0{3}|.{,7}\Z)", re.DOTALL),
    ),
)
"""A file that begins so is of this kind: whatever else is wrong with it is damage."""

LOST = rb"(?:\xef\xbf\xbd)"  # what reading as text makes of a byte that is none
MANGLED = (
    ("PNG", re.compile(rb"(?:\t|" + LOST + rb"|\xc2\x89)?PNG[\r\n]+\x1a?[\r\n]*")),
    ("PNG", re.compile(rb".{12}IHDR", re.DOTALL)),
    ("JPEG", re.compile(LOST + rb"{4}.{2,6}(?:JFIF|Exif)\0|\xc3\xbf\xc3\x98\xc3\xbf", re.DOTALL)),
    ("JPEG", re.compile(rb".{2}\xff[\xe0\xe1].{2}(?:JFIF|Exif)\0", re.DOTALL)),
    ("GIF", re.compile(rb"GIF8", re.DOTALL)),
    ("WEBP", re.compile(rb".{8}WEBP|RIFF.{4,20}WEBP", re.DOTALL)),
)
"""Beginnings that are recognised although they are damaged: line ends translated, the eighth bit
lost, read as text, single bytes wrong."""
SHIFTED = re.compile(
    rb"(?:\xef\xbb\xbf|[\r\n\t ])+(?=\x89PNG|\xff\xd8\xff|GIF8[79]a|RIFF.{4}WEBP)", re.DOTALL
)

OTHERS = (
    ("a TIFF image", rb"II[*+]\0|MM\0[*+]"),
    ("an AVIF image", rb".{4}ftypavi[fs]"),
    ("a HEIC image", rb".{4}ftyp(?:hei|hev|mif1|msf1)"),
    ("a video", rb".{4}ftyp|\x1a\x45\xdf\xa3|RIFF.{4}AVI "),
    ("a sound", rb"RIFF.{4}WAVE|ID3|OggS|fLaC"),
    ("a JPEG XL image", rb"\xff\x0a|\0\0\0\x0cJXL "),
    ("a JPEG 2000 image", rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    ("an icon", rb"\0\0[\x01\x02]\0"),
    ("a Photoshop document", rb"8BPS"),
    ("a PDF document", rb"%PDF"),
    ("PostScript", rb"%!PS"),
    ("a QOI image", rb"qoif"),
    ("a netpbm image", rb"P[1-7][\s]"),
    ("an OpenEXR image", rb"v/1\x01"),
    ("a NumPy array", rb"\x93NUMPY"),
    ("a ZIP archive", rb"PK\x03\x04"),
    ("gzip", rb"\x1f\x8b"),
    ("a data URI; decode its base64 and send the bytes", rb"\s*data:"),
    ("base64 text; decode it and send the bytes", rb"\s*(?:iVBORw0KGgo|/9j/|UklGR|R0lGOD)"),
    ("an SVG image", rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]{,200}>\s*)?(?:<!--.{,200}?-->\s*)?<svg"),
    ("HTML or XML", rb"(?:\xef\xbb\xbf)?\s*<[!?a-zA-Z]"),
    ("JSON", rb"(?:\xef\xbb\xbf)?\s*[{\[]"),
)
"""Kinds that are worth telling by name, the first that matches."""
OTHER = tuple((name, re.compile(pattern, re.DOTALL)) for name, pattern in OTHERS)


def kind_of(data: bytes, formats: Sequence[str]) -> str:
    """Which of ``formats`` the file is, however damaged.

    Raises:
        UnknownFormat: none of them; says what it is, where that is easily told.
        InvalidImage: one of them, but its first bytes are damaged.
    """
    for name, signature in OURS:
        if signature.match(data):
            return name
    head = bytes(data[:512])
    if shift := SHIFTED.match(head):
        raise InvalidImage(f"{shift.end()} bytes of text stand before the image")
    for name, signature in MANGLED:
        if signature.match(head):
            raise InvalidImage(f"a {name} whose first bytes were changed on the way")
    message = f"not a {', '.join(formats[:-1])} or {formats[-1]} image"
    for name, signature in OTHER:
        if signature.match(head):
            message += f", but {name}"
            break
    raise UnknownFormat(message)
