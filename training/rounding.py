"""How a layer's weights become integers: the scale, and training with the rounding in the loop."""

from __future__ import annotations

import torch
from torch import Tensor

from models.network import Network, Synaptic, input_maximum
from models.program import CURRENT_LIMIT

PIXEL_UNIT = 256.0  # training divides frames by it: exact in bfloat16, unlike 255


def input_gain(network: Network, layer: Synaptic) -> float:
    """Integer input steps per unit of the float network's input."""
    return PIXEL_UNIT if layer is network.layers[0] else float(input_maximum(network, layer))


def weight_scale(
    network: Network, layer: Synaptic, weight: Tensor, bias: Tensor, bits: int
) -> Tensor:
    """Integer steps per unit weight, ``[c_out]``, for ``weight [c_out, rows]``.

    Two bounds, the tighter one holds: the largest weight fits ``bits``, and with every
    weight rounded away from zero by a half, no current leaves int16. The classifier has
    one scale for all classes, since its logits are compared.
    """
    rows, maximum = weight.shape[1], input_maximum(network, layer)
    largest = weight.abs().amax(dim=1).clamp(min=1e-8)
    headroom = (CURRENT_LIMIT - 1) * 2**layer.shift - maximum * rows / 2
    reach = weight.abs().sum(dim=1) * maximum + bias.abs() * input_gain(network, layer)
    scale = torch.minimum((2 ** (bits - 1) - 1) / largest, headroom / reach.clamp(min=1e-8))
    return scale.min().expand_as(scale) if layer is network.layers[-1] else scale


def fake_quantised(
    network: Network, layer: Synaptic, weight: Tensor, bias: Tensor, bits: int
) -> Tensor:
    """``weight [c_out, rows]`` rounded as the quantiser will round it, straight-through."""
    with torch.no_grad():
        scale = weight_scale(network, layer, weight, bias, bits)[:, None]
        rounding = (weight * scale).round() / scale - weight
    return weight + rounding
