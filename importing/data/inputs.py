"""What enters a network: images at every timestep, or a frame of event counts at each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from spikeserve.importing.network import Floats

Array = NDArray[Any]
GREY_LEVELS = 255


@dataclass(frozen=True)
class Normalisation:
    """``(pixel / scale - mean) / std``, mean and std a channel each, ``[C]``."""

    scale: float
    mean: Floats
    std: Floats

    @classmethod
    def plain(cls, channels: int, scale: float = GREY_LEVELS) -> Normalisation:
        return cls(scale, np.zeros(channels), np.ones(channels))

    def __call__(self, pixels: Array, dtype: DTypeLike) -> Array:
        x = pixels.astype(dtype) / np.asarray(self.scale, dtype)
        normalised: Array = (x - self.mean.astype(dtype)) / self.std.astype(dtype)
        return normalised


@dataclass(frozen=True)
class Inputs:
    """N inputs: images ``[N, H, W, C]`` uint8, or counts ``[N, T, H, W, C]`` uint8."""

    values: Array
    normalisation: Normalisation

    @property
    def constant(self) -> bool:
        """Whether the same enters at every timestep."""
        return self.values.ndim == 4

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> Inputs:
        return replace(self, values=self.values[rows])

    def frame(self, t: int, dtype: DTypeLike = np.float64) -> Array:
        """What enters at timestep ``t`` from 1 on, ``[N, H, W, C]``."""
        chosen = self.values if self.constant else self.values[:, t - 1]
        return self.normalisation(chosen, dtype)

    def blurred(self, seed: int) -> Inputs:
        """Images moved by up to half a grey level, evenly; no longer whole numbers."""
        noise = np.random.default_rng(seed).uniform(-0.5, 0.5, self.values.shape)
        return replace(self, values=(self.values + noise).astype(np.float32))
