"""The loss of a stage: classification, distillation, and a penalty on synaptic operations."""

from __future__ import annotations

import torch
from torch import Tensor

from spikeserve.training.build import SpikingNetwork
from spikeserve.training.losses import (
    consistency,
    distillation,
    logit_deviation,
    spike_time_cross_entropy,
    timestep_cross_entropy,
)
from spikeserve.training.stage import Stage


def objective(
    stage: Stage, model: SpikingNetwork, logits: Tensor, labels: Tensor, target: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The loss of a batch, and the network's activity if its neurons spike or stand for spikes.

    Args:
        logits: what ``model`` has just computed, ``[T, B, K]``.
        labels: ``[B]``.
        target: the teacher's logits ``[B, K]``, if the stage has a teacher.
    """
    accumulated = model.accumulated(logits)
    weights = torch.tensor(stage.timestep_weights or (1.0,) * stage.timesteps, device=logits.device)
    loss = _classification(stage, logits, accumulated, labels, weights)
    if target is not None:
        distilled = distillation(accumulated, target, weights, stage.teacher_temperature)
        loss = loss + stage.teacher_weight * (distilled - loss)
    if stage.consistency_weight and stage.timesteps > 1:
        agreement = consistency(accumulated, stage.teacher_temperature)
        loss = loss + stage.consistency_weight * agreement
    if stage.logit_weight:
        loss = loss + stage.logit_weight * logit_deviation(logits)
    if stage.neurons == "relu":
        return loss, None
    rate = activity(model)
    return loss + stage.rate_weight * rate, rate


def activity(model: SpikingNetwork) -> Tensor:
    """Synaptic operations per dense multiply-accumulate, over all layers but the first.

    Spikes are counted after pooling, where they arrive, as an event-driven engine meets them.
    """
    layers = [s for s in model.synaptic[1:] if s.layer.is_matrix]
    costs = [module.layer.macs * module.layer.input_growth for module in layers]
    paid = [cost * module.density for cost, module in zip(costs, layers, strict=True)]
    return torch.stack(paid).sum() / sum(costs)


def _classification(
    stage: Stage, logits: Tensor, accumulated: Tensor, labels: Tensor, weights: Tensor
) -> Tensor:
    """The classification loss of a stage."""
    smoothing = stage.label_smoothing
    if stage.loss == "spike-time":
        return spike_time_cross_entropy(logits, labels, stage.output_threshold, smoothing)
    outputs = accumulated if stage.loss == "accumulated" else logits
    return timestep_cross_entropy(outputs, labels, weights, smoothing)
