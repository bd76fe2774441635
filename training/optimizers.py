"""Optimisers of a spiking network's parameters, and their learning-rate schedules."""

from __future__ import annotations

import math
from typing import Any

from torch.optim import SGD, AdamW, Optimizer

from spikeserve.training.build import SpikingNetwork
from spikeserve.training.muon import Muon
from spikeserve.training.stage import Stage

MUON_MOMENTUM = 0.9
SGD_MOMENTUM = 0.9
SGD_LEARNING_RATE = 0.02  # beside Muon, for what is no matrix: gains, thresholds, the classifier
SGD_WEIGHT_DECAY = 5e-4


def optimizers_of(model: SpikingNetwork, stage: Stage) -> list[Optimizer]:
    """The optimisers of a stage; parameter groups keep their peak learning rate as ``peak``."""
    hidden = [
        module.weight
        for module in model.synaptic[:-1]
        if module.layer.is_matrix and module.weight.requires_grad
    ]
    rest = [p for p in model.parameters() if p.requires_grad and all(p is not w for w in hidden)]
    groups: list[dict[str, Any]] = [
        {"params": hidden, "weight_decay": stage.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    optimizers: list[Optimizer]
    match stage.optimizer:
        case "muon":
            optimizers = [
                SGD(
                    rest,
                    SGD_LEARNING_RATE,
                    momentum=SGD_MOMENTUM,
                    nesterov=True,
                    weight_decay=SGD_WEIGHT_DECAY,
                )
            ]
            if hidden:  # all may be frozen
                muon = Muon(
                    hidden,
                    lr=stage.learning_rate,
                    momentum=MUON_MOMENTUM,
                    weight_decay=stage.weight_decay,
                )
                optimizers.insert(0, muon)
        case "sgd":
            optimizers = [SGD(groups, stage.learning_rate, momentum=SGD_MOMENTUM)]
        case "adamw":
            optimizers = [AdamW(groups, lr=stage.learning_rate)]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def set_learning_rates(optimizers: list[Optimizer], stage: Stage, epochs_done: float) -> None:
    """Scale every group's peak learning rate by the schedule's factor."""
    factor = learning_rate_factor(stage, epochs_done)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor


def learning_rate_factor(stage: Stage, epochs_done: float) -> float:
    """Linear warm-up to 1, then linear or cosine decay to 0, after ``epochs_done`` epochs."""
    progress = epochs_done / stage.epochs
    rising = (progress + 1e-3) / stage.warmup if stage.warmup else 1.0
    left = (1 - progress) / (1 - stage.warmup)
    if stage.schedule == "cosine":
        left = (1 - math.cos(math.pi * min(left, 1.0))) / 2
    return min(1.0, rising, left)
