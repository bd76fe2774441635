"""A split on the device as uint8, handed out in augmented batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.data.dataset import Split


@dataclass(frozen=True)
class Batches:
    """A split kept on the device as uint8, handed out in augmented batches."""

    images: Tensor  # [N, H, W, C] uint8
    labels: Tensor  # [N] int64

    @classmethod
    def on(cls, device: torch.device, split: Split) -> Batches:
        return cls(
            torch.from_numpy(split.images).to(device),
            torch.from_numpy(split.labels.astype(np.int64)).to(device),
        )

    def epoch(
        self, batch_size: int, generator: torch.Generator, crop_padding: int, cutout: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Shuffled batches: images ``[B, H, W, C]``, labels ``[B]``; a short rest is dropped."""
        device = self.labels.device
        order = torch.randperm(len(self.labels), generator=generator).to(device)
        size = min(batch_size, len(order))
        for start in range(0, len(order) - size + 1, size):
            index = order[start : start + size]
            images = augmented(self.images[index], generator, crop_padding, cutout)
            yield images, self.labels[index]


def augmented(images: Tensor, generator: torch.Generator, padding: int, cutout: int) -> Tensor:
    """Random crop, horizontal flip and a grey square, per image, by gathering. ``[B, H, W, C]``."""
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
    images = padded[index, rows[:, :, None], columns[:, None, :]]
    if cutout:
        top, left = draw(height), draw(width)
        y = (torch.arange(height, device=device) - top).abs() * 2 < cutout
        x = (torch.arange(width, device=device) - left).abs() * 2 < cutout
        images = images.masked_fill((y[:, :, None] & x[:, None, :])[..., None], 128)
    return images
