"""Shuffled, augmented batches of a split that stays on the device, or on disk where it is large."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spikeserve.training.data.augmentation import Augmentation
from spikeserve.training.data.dataset import Split


@dataclass(frozen=True)
class Batches:
    """A split on the device, images as uint8; those that are mapped to memory stay there."""

    images: Tensor  # [N, H, W, C] uint8
    labels: Tensor  # [N] int64

    @classmethod
    def on(cls, device: torch.device, split: Split) -> Batches:
        """Copy ``split`` to ``device``."""
        images = torch.from_numpy(split.images)
        return cls(
            images if isinstance(split.images, np.memmap) else images.to(device),
            torch.from_numpy(split.labels.astype(np.int64)).to(device),
        )

    def count(self, batch_size: int, share: float = 1.0) -> int:
        """How many batches an epoch of ``share`` of the images has, at least one."""
        images = len(self.labels)
        return max(1, int(share * images) // min(batch_size, images))

    def epoch(
        self,
        batch_size: int,
        generator: torch.Generator,
        augmentation: Augmentation,
        share: float = 1.0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Shuffled batches: images ``[B, H, W, C]``, labels ``[B]``, a short last one dropped."""
        device = self.labels.device
        order = torch.randperm(len(self.labels), generator=generator).to(device)
        size = min(batch_size, len(order))
        for batch in range(self.count(batch_size, share)):
            index = order[batch * size : (batch + 1) * size]
            images = self.images[index.to(self.images.device)].to(device)
            yield augmentation(images, generator), self.labels[index]
