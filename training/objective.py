"""What a stage minimises: its classification loss, its teacher, its price on spikes."""

from __future__ import annotations

import torch
from torch import Tensor

from spikeserve.models.network import Shortcut, Synaptic, is_matrix
from spikeserve.training.build import SpikingNetwork
from spikeserve.training.losses import (
    distillation,
    logit_deviation,
    spike_time_cross_entropy,
    timestep_cross_entropy,
)
from spikeserve.training.stage import Stage


def objective(
    stage: Stage, model: SpikingNetwork, logits: Tensor, labels: Tensor, target: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The loss of ``logits [T, B, K]`` just computed by ``model``, and its activity if it spikes.

    ``target [B, K]`` are the teacher's logits, where there is one.
    """
    accumulated = model.accumulated(logits)
    weights = torch.tensor(stage.timestep_weights or (1.0,) * stage.timesteps, device=logits.device)
    loss = _classification(stage, logits, accumulated, labels, weights)
    if target is not None:
        distilled = distillation(accumulated, target, weights, stage.teacher_temperature)
        loss = loss + stage.teacher_weight * (distilled - loss)
    if stage.logit_weight:
        loss = loss + stage.logit_weight * logit_deviation(logits)
    if stage.neurons != "lif":
        return loss, None
    rate = activity(model)
    return loss + stage.rate_weight * rate, rate


def activity(model: SpikingNetwork) -> Tensor:
    """Synaptic operations per dense multiply-accumulate, over the layers that see spikes.

    Counted where spikes arrive, after any pool: that is what an event-driven engine pays.
    """
    layers = [s for s in model.synapses[1:] if is_matrix(s.layer)]
    costs = [
        synapse.layer.positions * synapse.weight.numel() * _windows(synapse.layer)
        for synapse in layers
    ]
    paid = [cost * synapse.density for cost, synapse in zip(costs, layers, strict=True)]
    return torch.stack(paid).sum() / sum(costs)


def _windows(layer: Synaptic) -> int:
    """Inputs that share a weight where a shortcut pools: each one's spike is paid for."""
    return layer.pool**2 if isinstance(layer, Shortcut) else 1


def _classification(
    stage: Stage, logits: Tensor, accumulated: Tensor, labels: Tensor, weights: Tensor
) -> Tensor:
    """The part of a stage's loss that labels decide."""
    smoothing = stage.label_smoothing
    if stage.loss == "spike-time":
        return spike_time_cross_entropy(logits, labels, stage.output_threshold, smoothing)
    outputs = accumulated if stage.loss == "accumulated" else logits
    return timestep_cross_entropy(outputs, labels, weights, smoothing)
