"""What cameras and phones send, made here: files of megapixels, and hostile ones among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from spikeserve.models.exits import ExitPolicy
from spikeserve.models.inference import Row
from spikeserve.models.preprocessing import pixels
from tests.hostile.files import REFUSED, saved
from tests.load.answers import Ask, World
from tests.load.clients import post

KINDS: dict[str, tuple[str, dict[str, object]]] = {
    "JPEG": ("JPEG", {"quality": 92}),
    "progressive JPEG": ("JPEG", {"quality": 92, "progressive": True}),
    "PNG": ("PNG", {"compress_level": 1}),
}
GRAIN = 3
HOSTILE_SHARE = 10  # one in so many


def photograph(width: int, height: int, seed: int) -> Image.Image:
    """Smooth colours under the grain of a sensor: as much work for a decoder as a photograph."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(2, height // 64), max(2, width // 64), 3), np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    grain = rng.integers(-GRAIN, GRAIN + 1, (height, width, 1), np.int16)
    return Image.fromarray((np.asarray(smooth) + grain).clip(0, 255).astype(np.uint8))


@dataclass(frozen=True)
class Upload:
    """A file that a client sends, and what is to come of it."""

    name: str
    data: bytes
    status: int
    ask: Ask | None = None
    row: Row | None = None

    @cached_property
    def request(self) -> bytes:
        return self.asking()

    def asking(self, more: str = "") -> bytes:
        """The request, with more in its query."""
        return post(self.data, (self.ask.query if self.ask else "?top_k=1") + more)


def uploads(world: World, sizes: Sequence[tuple[int, int]]) -> list[Upload]:
    """Photographs of each size in each kind with their solo runs, and a tenth of hostile files."""
    shape, timesteps = world.manifest.network.input_shape, world.manifest.timesteps
    good: list[tuple[str, bytes, Ask]] = []
    for number, (width, height) in enumerate(sizes):
        picture = photograph(width, height, number)
        for kind, (format, options) in KINDS.items():
            data = saved(picture, format, **options)
            ask = Ask(pixels(data, shape), ExitPolicy(0.3, 1, 1 + len(good) % timesteps))
            good.append((f"{width} x {height} {kind}", data, ask))
    rows = world.alone([ask for _, _, ask in good])
    found = [
        Upload(name, data, 200, ask, row) for (name, data, ask), row in zip(good, rows, strict=True)
    ]
    hostile = [Upload(name, make(), status) for name, (make, status) in REFUSED.items()]
    times = max(1, len(hostile) * (HOSTILE_SHARE - 1) // len(found))
    return found * times + hostile
