"""Pictures that are in a set twice, found by their content.

*Equal* are pictures of which the network sees the same pixels. *Nearly equal* are those saved anew,
at another quality or size: their shapes in 16 x 16 comparisons of neighbours differ in a few bits
(the difference hash of N. Krawetz, 2013), and their pixels correlate. Mirrored or cropped copies
are not found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spikeserve.training.data.dataset import Pixels

SIDE = 16
MOST_BITS = 24
"""Of 256, that may differ."""
CORRELATION = 0.985
MOST_COMPARISONS = 20_000_000_000
BLOCK = 1 << 22
LUMA = np.array([0.299, 0.587, 0.114], np.float32)

Shapes = NDArray[np.uint64]
"""``[N, 4]``: 256 bits a picture."""


def digest(pixels: Pixels) -> bytes:
    """What equal pictures have in common."""
    return hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).digest()


def grey(pixels: Pixels) -> NDArray[np.float32]:
    """``[H, W]`` of ``[H, W, C]``."""
    values = pixels.astype(np.float32)
    result: NDArray[np.float32] = values @ LUMA if pixels.shape[2] == 3 else values[:, :, 0]
    return result


def shape_of(pixels: Pixels) -> Shapes:
    """A picture's shape, ``[4]``: where it becomes brighter from left to right."""
    small = Image.fromarray(grey(pixels)).resize((SIDE + 1, SIDE), Image.Resampling.BOX)
    values = np.asarray(small)
    return np.packbits(values[:, 1:] > values[:, :-1]).view(np.uint64)


def near_pairs(ours: Shapes, theirs: Shapes) -> Iterator[tuple[int, int]]:
    """Pairs of rows of ``ours [N, 4]`` and ``theirs [M, 4]`` with nearly the same shape."""
    step = max(1, BLOCK // max(1, len(theirs)))
    for start in range(0, len(ours), step):
        part = ours[start : start + step, None]
        bits = np.zeros((len(part), len(theirs)), np.uint16)
        for word in range(ours.shape[1]):
            bits += np.bitwise_count(part[:, :, word] ^ theirs[None, :, word])
        for row, column in zip(*np.nonzero(bits <= MOST_BITS), strict=True):
            yield start + int(row), int(column)


def correlate(one: Pixels, other: Pixels) -> bool:
    """Whether two pictures ``[H, W, C]`` are the same but for small changes of their pixels."""
    a, b = (grey(pixels) for pixels in (one, other))
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return scale > 0 and float((a * b).sum()) / scale >= CORRELATION
