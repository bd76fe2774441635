"""How a teacher is trained: airbench's settings, and images mirrored in every other epoch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import SGD

from spikeserve.training.teacher.network import Teacher

LOW, TURN, FINAL = 0.2, 0.23, 0.07  # of the triangle of learning rates
LOOK_BACK_EVERY = 5  # steps


@dataclass(frozen=True)
class Schedule:
    """How long and how fast."""

    epochs: int = 16
    batch: int = 512
    learning_rate: float = 10.0
    """Per 1,024 images, as if there were no momentum."""
    weight_decay: float = 0.0153
    """A step's of 1,024 images, as if there were no momentum."""
    momentum: float = 0.85
    bias_scale: float = 64.0
    """How much faster biases learn."""
    label_smoothing: float = 0.2
    translation: int = 4
    """Pixels by which images are shifted at most."""
    whitening_epochs: int = 3
    """Epochs in which the whitening layer's bias learns."""

    def optimizer(self, model: Teacher) -> SGD:
        """Nesterov SGD; every group keeps its highest learning rate as ``peak``."""
        share = self.batch / 1024 / (1 + 1 / (1 - self.momentum))
        trained = [p for p in model.parameters() if p.requires_grad]
        groups = []
        for params, scale in (
            ([p for p in trained if p.ndim == 1], self.bias_scale),
            ([p for p in trained if p.ndim > 1], 1.0),
        ):
            peak = self.learning_rate * share * scale
            decay = self.weight_decay * share / peak
            groups.append({"params": params, "lr": peak, "peak": peak, "weight_decay": decay})
        return SGD(groups, momentum=self.momentum, nesterov=True)


def learning_rate_factor(progress: float) -> float:
    """A triangle over the training, 0…1: up for a while, then down."""
    if progress < TURN:
        return LOW + (1 - LOW) * progress / TURN
    return 1 - (1 - FINAL) * (progress - TURN) / (1 - TURN)


def augmented(images: Tensor, mirrored: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Shifted crops of ``images [B, H, W, C]``, mirrored where ``mirrored [B]`` says so."""
    batch, height, width, _ = images.shape
    x = images.permute(0, 3, 1, 2).float()
    x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
    x = F.pad(x, (padding,) * 4, mode="reflect").permute(0, 2, 3, 1).to(torch.uint8)
    shift = torch.randint(0, 2 * padding + 1, (2, batch, 1), generator=generator).to(x.device)
    rows, columns = (
        shift[axis] + torch.arange(extent, device=x.device)
        for axis, extent in enumerate((height, width))
    )
    batch_index = torch.arange(batch, device=x.device)[:, None, None]
    return x[batch_index, rows[:, :, None], columns[:, None, :]]


def look_back_decay(progress: float) -> float:
    """How much of the average stays when it meets the weights: more and more."""
    return 0.95**LOOK_BACK_EVERY * progress**3


@torch.no_grad()
def look_back(model: Teacher, average: dict[str, Tensor], decay: float) -> None:
    """Draw the moving average towards the weights, then set the weights to it (lookahead)."""
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value, 1 - decay)
            value.copy_(average[name])
