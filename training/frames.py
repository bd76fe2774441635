"""From uint8 images to the frames that networks train on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spikeserve.training.device import autocast
from spikeserve.training.rounding import PIXEL_UNIT


@dataclass(frozen=True)
class FrameEncoder:
    """An encoding's lookup table on the training device, and the precision of its frames."""

    table: Tensor
    """``[T, 256]``: the pixel value that each timestep shows for each stored one."""
    dtype: torch.dtype

    def __call__(self, images: Tensor, timesteps: int) -> Tensor:
        """Frames ``[T, B, C, H, W]``, channels last in memory, of ``images [B, H, W, C]`` uint8."""
        frames = self.table[:timesteps, images.to(self.table.device).long()]  # [T, B, H, W, C]
        return frames.to(self.dtype).div_(PIXEL_UNIT).permute(0, 1, 4, 2, 3)

    def autocast(self) -> torch.autocast:
        """The context in which a network runs on these frames."""
        return autocast(self.table.device, self.dtype)
