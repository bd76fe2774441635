"""Input encodings: an image and a timestep make a frame.

The encodings of images are a table ``[T, 256]`` from pixel value to frame value, so one
lookup encodes any mix of rows and timesteps.

* ``direct``: the image itself at every timestep (Li et al., DT-SNN, 2023).
* ``hybrid``: analog pixels at t = 1, afterwards each pixel spikes exactly once, the
  brighter the earlier (Datta, Kundu and Beerel, IJCNN 2021):

      T_ij = round(T + (2 - T) * a / 255)        a = 255 -> t = 2,  a = 0 -> t = T

  A spike is a full-brightness pixel, 255.

* ``frames``: what enters is no image but a recording, one frame of counted events a timestep;
  counts beyond ``largest_count`` are that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from spikeserve.models.layers.window import Shape

FULL_BRIGHTNESS = 255
MAX_TIMESTEPS = 1024

Pixels = NDArray[np.uint8]


def spike_times(timesteps: int) -> NDArray[np.int64]:
    """Hybrid spike time of every pixel value 0…255, ``[256]``, halves rounded up."""
    a = np.arange(256)
    return (2 * (timesteps * 255 + (2 - timesteps) * a) + 255) // 510


@dataclass(frozen=True)
class Encoding:
    """How an input enters the network, over at most ``timesteps`` steps.

    An input is an image, uint8 ``[H, W, C]``, or a recording, uint8 ``[T, H, W, C]``.

    Raises:
        ValueError: counts without frames, or frames without counts.
    """

    kind: Literal["direct", "hybrid", "frames"]
    timesteps: Annotated[int, Field(ge=1, le=MAX_TIMESTEPS)]
    largest_count: Annotated[int, Field(ge=1, le=255)] | None = None
    """Of frames, the largest count that there may be."""

    def __post_init__(self) -> None:
        if (self.kind == "frames") != (self.largest_count is not None):
            raise ValueError("frames need a largest_count, images have none")

    @property
    def takes_images(self) -> bool:
        return self.kind != "frames"

    def input_shape(self, frame: Shape) -> tuple[int, ...]:
        """Of an input of a network that takes frames ``(H, W, C)``."""
        return frame if self.takes_images else (self.timesteps, *frame)

    @cached_property
    def table(self) -> Pixels:
        """Frame value by timestep (row ``t - 1``) and pixel or count, ``[T, 256]``."""
        analog = np.arange(256, dtype=np.uint8)
        if self.largest_count is not None:
            return np.tile(np.minimum(analog, self.largest_count), (self.timesteps, 1))
        if self.kind == "direct":
            return np.tile(analog, (self.timesteps, 1))
        t = np.arange(1, self.timesteps + 1)[:, None]
        frames = np.where(spike_times(self.timesteps) == t, FULL_BRIGHTNESS, 0).astype(np.uint8)
        frames[0] = analog
        return frames

    def analog(self, t: int) -> bool:
        """Whether the frame of timestep ``t`` holds pixel values, not spikes or counts of them."""
        return self.kind == "direct" or (self.kind == "hybrid" and t == 1)

    def frame(self, image: Pixels, t: int) -> Pixels:
        """The frame of images of any shape, or of recordings ``[..., T, H, W, C]``, all at timestep
        ``t`` in 1…T."""
        if not 1 <= t <= self.timesteps:
            raise ValueError(f"timestep {t} is outside 1…{self.timesteps}")
        shown = image if self.takes_images else image[..., t - 1, :, :, :]
        frame: Pixels = self.table[t - 1][shown]
        return frame

    def frames(self, images: Sequence[Pixels], t: Sequence[int]) -> Pixels:
        """Frames ``[N, H, W, C]`` of N inputs, each at its own timestep.

        Raises:
            ValueError: inputs differ in shape, are not uint8, or a timestep is outside 1…T.
        """
        shape, parts = images[0].shape, []
        for image, step in zip(images, t, strict=True):
            if image.shape != shape or image.dtype != np.uint8:
                raise ValueError(f"inputs must be uint8 {shape}, not {image.dtype} {image.shape}")
            if not 1 <= step <= self.timesteps:
                raise ValueError(f"timestep {step} is outside 1…{self.timesteps}")
            pixels = (image if self.takes_images else image[step - 1]).tobytes()
            parts.append(
                pixels if self._analog[step - 1] else pixels.translate(self._lookups[step - 1])
            )
        # Joined as bytes: numpy would give the interpreter away for every row it copies.
        return np.frombuffer(bytearray().join(parts), np.uint8).reshape(len(parts), *shape[-3:])

    @cached_property
    def _lookups(self) -> tuple[bytes, ...]:
        """The rows of the table, as ``bytes.translate`` takes them."""
        return tuple(row.tobytes() for row in self.table)

    @cached_property
    def _analog(self) -> tuple[bool, ...]:
        """At which timesteps a frame is the image itself, ``[T]``."""
        return tuple((self.table == np.arange(256)).all(axis=1))
