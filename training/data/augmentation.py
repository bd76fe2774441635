"""Augmentation of uint8 batches ``[B, H, W, C]`` on their device.

All draws come from a CPU generator, so that a run can be resumed on another device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from spikeserve.training.data.policy import trivially_augmented

GREY = 128


@dataclass(frozen=True)
class Augmentation:
    """Flip and crop, then a policy, then a grey square."""

    crop_padding: int = 4
    policy: Literal["none", "trivial"] = "none"
    cutout: int = 0

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        images = flipped_and_cropped(images, generator, self.crop_padding)
        if self.policy == "trivial":
            images = trivially_augmented(images, generator)
        return cut_out(images, generator, self.cutout) if self.cutout else images


def flipped_and_cropped(images: Tensor, generator: torch.Generator, padding: int) -> Tensor:
    """Random crops of the images padded with black, half of them mirrored."""
    batch, height, width, _ = images.shape
    device = images.device

    def draw(high: int) -> Tensor:
        return torch.randint(0, high, (batch, 1), generator=generator).to(device)

    rows = draw(2 * padding + 1) + torch.arange(height, device=device)
    columns = draw(2 * padding + 1) + torch.where(
        draw(2) == 1,
        torch.arange(width - 1, -1, -1, device=device),
        torch.arange(width, device=device),
    )
    padded = torch.nn.functional.pad(images, (0, 0, padding, padding, padding, padding))
    index = torch.arange(batch, device=device)[:, None, None]
    return padded[index, rows[:, :, None], columns[:, None, :]]


def cut_out(images: Tensor, generator: torch.Generator, size: int) -> Tensor:
    """A grey square of ``size`` pixels, its centre anywhere (DeVries & Taylor, 2017)."""
    batch, height, width, _ = images.shape
    device = images.device
    top = torch.randint(0, height, (batch, 1), generator=generator).to(device)
    left = torch.randint(0, width, (batch, 1), generator=generator).to(device)
    y = 2 * (torch.arange(height, device=device) - top)
    x = 2 * (torch.arange(width, device=device) - left)
    y, x = (y >= -size) & (y < size), (x >= -size) & (x < size)
    return images.masked_fill((y[:, :, None] & x[:, None, :])[..., None], GREY)
