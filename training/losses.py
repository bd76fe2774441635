"""Losses over the time axis: every timestep's accumulated output must already be an answer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def timestep_cross_entropy(
    accumulated: Tensor, labels: Tensor, weights: Tensor, label_smoothing: float
) -> Tensor:
    """Weighted mean over t of CE(running output up to t), ``accumulated [T, B, K]``.

    DT-SNN's loss: training every prefix is what makes stopping early possible.
    """
    losses = torch.stack(
        [F.cross_entropy(y, labels, label_smoothing=label_smoothing) for y in accumulated]
    )
    return (losses * weights).sum() / weights.sum()


def distillation(
    accumulated: Tensor, teacher_logits: Tensor, weights: Tensor, temperature: float
) -> Tensor:
    """Weighted mean over t of KL(teacher || output up to t), softened by ``temperature``."""
    target = F.log_softmax(teacher_logits / temperature, dim=-1)
    losses = torch.stack(
        [
            F.kl_div(
                F.log_softmax(y / temperature, dim=-1),
                target,
                log_target=True,
                reduction="batchmean",
            )
            for y in accumulated
        ]
    )
    return (losses * weights).sum() / weights.sum() * temperature**2
