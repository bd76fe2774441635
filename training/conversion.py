"""ANN-to-SNN conversion: initial thresholds from the network's activity, layer by layer.

A threshold is a high percentile of the currents into its layer, scaled down since few timesteps
leave no time to integrate; so spikes reach deep layers from the start (N. Rathi, K. Roy,
"DIET-SNN", 2020).
"""

from __future__ import annotations

import torch
from torch import Tensor

from spikeserve.training.build import Neurons, SpikingNetwork

LARGEST_SAMPLE = 1 << 22  # values a percentile is taken from


@torch.no_grad()
def set_thresholds(model: SpikingNetwork, frames: Tensor, percentile: float, scale: float) -> None:
    """Set all thresholds, first layer first, from the currents of ``frames [T, B, C, H, W]``."""

    def adjust(neurons: Neurons, arguments: tuple[Tensor, int]) -> None:
        flat = arguments[0].float().flatten()
        sample = flat[:: len(flat) // LARGEST_SAMPLE + 1]
        rank = max(1, round(percentile * len(sample)))
        neurons.theta.fill_(scale * float(sample.kthvalue(rank).values.clamp(min=1e-3)))

    hooks = [neurons.register_forward_pre_hook(adjust) for neurons in model.neurons]
    try:
        model.eval()(frames)
    finally:
        for hook in hooks:
            hook.remove()
