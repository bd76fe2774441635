"""Input encodings: an image and a timestep make a frame.

Both encodings are a table ``[T, 256]`` from pixel value to frame value, so one
lookup encodes any mix of rows and timesteps.

* ``direct``: the image itself at every timestep (Li et al., DT-SNN, 2023).
* ``hybrid``: analog pixels at t = 1, afterwards each pixel spikes exactly once, the
  brighter the earlier (Datta, Kundu and Beerel, IJCNN 2021):

      T_ij = round(T + (2 - T) * a / 255)        a = 255 -> t = 2,  a = 0 -> t = T

  A spike is a full-brightness pixel, 255.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

FULL_BRIGHTNESS = 255
MAX_TIMESTEPS = 1024

Pixels = NDArray[np.uint8]


def spike_times(timesteps: int) -> NDArray[np.int64]:
    """Hybrid spike time of every pixel value 0…255, ``[256]``, halves rounded up."""
    a = np.arange(256)
    return (2 * (timesteps * 255 + (2 - timesteps) * a) + 255) // 510


@dataclass(frozen=True)
class Encoding:
    """How pixels enter the network, over at most ``timesteps`` steps."""

    kind: Literal["direct", "hybrid"]
    timesteps: Annotated[int, Field(ge=1, le=MAX_TIMESTEPS)]

    @cached_property
    def table(self) -> Pixels:
        """Frame value by timestep (row ``t - 1``) and pixel value, ``[T, 256]``."""
        analog = np.arange(256, dtype=np.uint8)
        if self.kind == "direct":
            return np.tile(analog, (self.timesteps, 1))
        t = np.arange(1, self.timesteps + 1)[:, None]
        frames = np.where(spike_times(self.timesteps) == t, FULL_BRIGHTNESS, 0).astype(np.uint8)
        frames[0] = analog
        return frames

    def analog(self, t: int) -> bool:
        """Whether the frame of timestep ``t`` holds pixel values, not spikes."""
        return self.kind == "direct" or t == 1

    def frame(self, image: Pixels, t: int) -> Pixels:
        """The frame of images of any shape, all at timestep ``t`` in 1…T."""
        if not 1 <= t <= self.timesteps:
            raise ValueError(f"timestep {t} is outside 1…{self.timesteps}")
        frame: Pixels = self.table[t - 1][image]
        return frame

    def frames(self, images: Sequence[Pixels], t: Sequence[int]) -> Pixels:
        """Frames ``[N, H, W, C]`` of N images ``[H, W, C]``, each at its own timestep.

        Raises:
            ValueError: images differ in shape, are not uint8, or a timestep is outside 1…T.
        """
        shape, parts = images[0].shape, []
        for image, step in zip(images, t, strict=True):
            if image.shape != shape or image.dtype != np.uint8:
                raise ValueError(f"images must be uint8 {shape}, not {image.dtype} {image.shape}")
            if not 1 <= step <= self.timesteps:
                raise ValueError(f"timestep {step} is outside 1…{self.timesteps}")
            pixels = image.tobytes()
            parts.append(
                pixels if self._analog[step - 1] else pixels.translate(self._lookups[step - 1])
            )
        # Joined as bytes: numpy would give the interpreter away for every row it copies.
        return np.frombuffer(bytearray().join(parts), np.uint8).reshape(len(parts), *shape)

    @cached_property
    def _lookups(self) -> tuple[bytes, ...]:
        """The rows of the table, as ``bytes.translate`` takes them."""
        return tuple(row.tobytes() for row in self.table)

    @cached_property
    def _analog(self) -> tuple[bool, ...]:
        """At which timesteps a frame is the image itself, ``[T]``."""
        return tuple((self.table == np.arange(256)).all(axis=1))
