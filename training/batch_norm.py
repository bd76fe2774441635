"""Batch-norm's running statistics, estimated anew for the weights a stage ends with."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import torch
from torch import Tensor

from spikeserve.training.build import SpikingNetwork
from spikeserve.training.frames import FrameEncoder

BATCHES = 60


@torch.no_grad()
def reestimate_statistics(
    model: SpikingNetwork,
    batches: Iterable[tuple[Tensor, Tensor]],
    encoder: FrameEncoder,
    timesteps: int,
) -> bool:
    """Replace running statistics by plain averages over ``batches`` of images and labels.

    Rounded weights move in jumps, and moving averages lag behind. False where the network has no
    batch-norm.
    """
    norms = [module.norm for module in model.synaptic if module.norm is not None]
    if not norms:
        return False
    model.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over all batches
    for images, _ in islice(batches, BATCHES):
        with encoder.autocast():
            model(encoder(images, timesteps))
    return True
