"""How the image is spread over the timesteps: gains of the first layer's current."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class FloatDrive:
    """How much of the first layer's current each timestep brings, in whole steps of ``unit``.

    One pass that stands for all T timesteps has the mean current of them, so all together bring T
    times as much.
    """

    gains: tuple[int, ...]
    unit: float

    @property
    def timesteps(self) -> int:
        return len(self.gains)

    @property
    def shares(self) -> Tensor:
        """What each timestep brings of the constant part, ``[T]``: as much of it as of the image
        where that is shown whole, at t = 1, and the rest evenly."""
        first = self.gains[0] * self.unit
        others = (self.timesteps - first) / max(1, self.timesteps - 1)
        return torch.tensor([first, *[others] * (self.timesteps - 1)])

    def applied(self, sums: Tensor, bias: Tensor, timesteps: int) -> Tensor:
        """``sums [t * B, C, H, W]`` of t timesteps times their gains, plus ``bias [T, C]``."""
        by_step = sums.reshape(timesteps, -1, *sums.shape[1:])
        gains = torch.tensor(self.gains[:timesteps], dtype=sums.dtype, device=sums.device)
        bias = bias[:timesteps, None, :, None, None].to(sums.dtype)
        driven = by_step * gains[:, None, None, None, None] + bias
        return driven.flatten(0, 1)
