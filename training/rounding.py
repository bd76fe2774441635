"""How a layer's weights become integers: the scale, and training with the rounding in the loop."""

from __future__ import annotations

import torch
from torch import Tensor

from models.network import Network, Synaptic, input_maximum
from models.program import CURRENT_LIMIT

PIXEL_UNIT = 256.0  # training divides frames by it: exact in bfloat16, unlike 255
CLIPPING = torch.linspace(0.3, 1.0, 15)
"""Shares of the largest weight that may become the largest integer."""


def input_gain(network: Network, layer: Synaptic) -> float:
    """Integer input steps per unit of the float network's input."""
    return PIXEL_UNIT if layer is network.layers[0] else float(input_maximum(network, layer))


def weight_scale(
    network: Network, layer: Synaptic, weight: Tensor, bias: Tensor, bits: int
) -> Tensor:
    """Integer steps per unit weight, ``[c_out]``, for ``weight [c_out, rows]``.

    The scale whose rounded weights are nearest to the float ones, unless a current could
    leave int16 with it, every weight rounded away from zero by a half. The classifier has
    one scale for all classes, since its logits are compared.
    """
    rows, maximum = weight.shape[1], input_maximum(network, layer)
    nearest = _nearest_scale(weight, bits)
    headroom = (CURRENT_LIMIT - 1) * 2**layer.shift - maximum * rows / 2
    reach = weight.abs().sum(dim=1) * maximum + bias.abs() * input_gain(network, layer)
    scale = torch.minimum(nearest, headroom / reach.clamp(min=1e-8))
    return scale.min().expand_as(scale) if layer is network.layers[-1] else scale


def _nearest_scale(weight: Tensor, bits: int) -> Tensor:
    """The scale with the least squared rounding error, ``[c_out]``.

    With few bits it pays to clip the largest weights, so that all others are finer.
    """
    largest = weight.abs().amax(dim=1).clamp(min=1e-8)
    scales = [(2 ** (bits - 1) - 1) / (largest * share) for share in CLIPPING.tolist()]
    errors = [
        (rounded(weight, scale, bits) / scale[:, None] - weight).square().sum(dim=1)
        for scale in scales
    ]
    best = torch.stack(errors).argmin(dim=0)
    return torch.stack(scales).gather(0, best[None])[0]


def rounded(weight: Tensor, scale: Tensor, bits: int) -> Tensor:
    """``weight [c_out, rows]`` in whole steps of ``scale [c_out]``, within ``bits`` bits."""
    largest = 2 ** (bits - 1) - 1
    return (weight * scale[:, None]).round().clamp(-largest, largest)


def fake_quantised(
    network: Network, layer: Synaptic, weight: Tensor, bias: Tensor, bits: int
) -> Tensor:
    """``weight [c_out, rows]`` rounded as the quantiser will round it, straight-through."""
    with torch.no_grad():
        scale = weight_scale(network, layer, weight, bias, bits)
        rounding = rounded(weight, scale, bits) / scale[:, None] - weight
    return weight + rounding
