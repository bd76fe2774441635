"""Image files as their containers tell it, before anything is decoded.

What a file holds, what decoding it will take, and the part of it that a decoder has to see: texts,
profiles, previews and whatever lies behind the picture are passed over by their lengths, never
read or inflated.
"""

from __future__ import annotations

import struct

from spikeserve.models.containers.bmp import Bmp
from spikeserve.models.containers.container import Container
from spikeserve.models.containers.gif import Gif
from spikeserve.models.containers.jpeg import Jpeg
from spikeserve.models.containers.png import Png
from spikeserve.models.containers.signatures import kind_of
from spikeserve.models.containers.webp import WebP
from spikeserve.models.errors import InvalidImage

CONTAINERS: dict[str, type[Container]] = {kind.format: kind for kind in (Jpeg, Png, WebP, Gif, Bmp)}
FORMATS = tuple(CONTAINERS)


def container_of(data: bytes) -> Container:
    """The container that a file's first bytes announce, its head read.

    Takes microseconds, whatever the file holds.

    Raises:
        UnknownFormat: not one of ``FORMATS``.
        InvalidImage: one of them, but damaged in its head.
    """
    kind = CONTAINERS[kind_of(data, FORMATS)]
    try:
        return kind(data)
    except (IndexError, struct.error) as error:
        raise InvalidImage(f"a {kind.format} that ends before its picture") from error
