"""Thresholds from an ANN's activity, layer by layer: a start that keeps deep layers alive.

A threshold is a high percentile of the currents its neurons see, scaled down because few
timesteps leave no time to integrate (N. Rathi, K. Roy, "DIET-SNN", 2020).
"""

from __future__ import annotations

import torch
from torch import Tensor

from spikeserve.training.build import Neurons, SpikingNetwork

LARGEST_SAMPLE = 1 << 22  # values a percentile is taken from


@torch.no_grad()
def set_thresholds(model: SpikingNetwork, frames: Tensor, percentile: float, scale: float) -> None:
    """Set every layer's thresholds from ``frames [T, B, C, H, W]``, the layers before it set."""

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
