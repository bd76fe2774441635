"""Losses over the time axis, of logits and accumulated logits ``[T, B, K]``."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from spikeserve.training.neurons import heaviside


def timestep_cross_entropy(
    outputs: Tensor, labels: Tensor, weights: Tensor, label_smoothing: float
) -> Tensor:
    """Weighted mean over t of CE(output t).

    Of accumulated outputs it is DT-SNN's loss, which trains every prefix of timesteps to answer.
    Of single timesteps it is TET's (S. Deng et al., ICLR 2022).
    """
    losses = torch.stack(
        [F.cross_entropy(y, labels, label_smoothing=label_smoothing) for y in outputs]
    )
    return (losses * weights).sum() / weights.sum()


def logit_deviation(logits: Tensor) -> Tensor:
    """Mean squared distance of single logits from 1: TET's regulariser, against outliers."""
    return (logits - 1).square().mean()


def spike_time_cross_entropy(
    logits: Tensor, labels: Tensor, threshold: float, label_smoothing: float
) -> Tensor:
    """Cross-entropy of each class's final potential minus its spike time.

    Output neurons integrate without leak or reset. The spike time is the first timestep at which
    the potential reaches ``threshold``, or T if none does; its gradient is the neurons' surrogate.
    (G. Datta et al., IJCNN 2021.)
    """
    potential = logits.cumsum(0)
    crossed = heaviside(potential.cummax(0).values[:-1] - threshold)  # [T - 1, B, K]
    spike_time = 1 + (1 - crossed).sum(0)
    return F.cross_entropy(potential[-1] - spike_time, labels, label_smoothing=label_smoothing)


def consistency(accumulated: Tensor, temperature: float) -> Tensor:
    """Mean over t < T of KL(output of all timesteps || output up to t), the former fixed."""
    whole = accumulated[-1].detach()
    weights = torch.ones(len(accumulated) - 1, device=accumulated.device)
    return distillation(accumulated[:-1], whole, weights, temperature)


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
