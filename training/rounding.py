"""How weights become integers: membrane units, and quantisation-aware training.

All layers that feed the same neurons share a channel's unit: membrane steps per unit of float
current. Integer weights are float weights times the unit, divided by the layer's input gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spikeserve.models.layers import Synaptic
from spikeserve.models.network import Network, input_maximum
from spikeserve.models.program import CURRENT_LIMIT, EXACT_IN_FLOAT32
from spikeserve.training.errors import TrainingError

PIXEL_UNIT = 256.0  # training divides frames by it: exact in bfloat16, unlike 255
CLIPPING = torch.linspace(0.3, 1.0, 15)
"""Shares of the largest weight that are tried as the largest integer."""
ROOM = 8.0
"""How many thresholds fit into int16 at least, where currents may saturate."""
LOGIT_SHARE = 0.125
MAX_RESCALINGS = 20  # rounding may exceed what scaling promised, by less each time
DIAGONAL_BITS = 16  # of a shortcut's weights, one a channel


@dataclass(frozen=True)
class FloatWeights:
    """A layer's trained numbers: ``weight [c_out, rows]`` and ``bias [c_out]``."""

    layer: Synaptic
    weight: Tensor
    bias: Tensor
    largest_bias: Tensor
    """The largest magnitude of what is added at any timestep, ``[c_out]``."""
    gain: int = 1
    """The largest by which sums are multiplied."""


def input_gain(network: Network, layer: Synaptic) -> float:
    """Integer input steps per unit of the float network's input."""
    return PIXEL_UNIT if layer is network.layers[0] else float(input_maximum(network, layer))


def membrane_units(
    network: Network,
    feeding: Sequence[FloatWeights],
    bits: int,
    theta: Tensor | None = None,
    *,
    saturating: bool = False,
) -> Tensor:
    """Membrane steps per unit of current, ``[c_out]``, for all layers ``feeding`` some neurons.

    The unit with the least squared rounding error, or the largest below that one with which no
    current can leave int16; where currents may saturate, with which there is room above the
    thresholds ``theta``. The classifier has one unit for all classes, since its logits are
    compared; they do not saturate unless ``LOGIT_SHARE`` of all its inputs say the same.

    Raises:
        TrainingError: currents leave int16 with every unit; names the layer.
    """
    first = feeding[0].layer
    matrices = [f.weight / input_gain(network, f.layer) for f in feeding if f.layer.is_matrix]
    units = _least_error_scale(torch.cat(matrices, dim=1), bits)
    limit = float((CURRENT_LIMIT - 1) << first.shift)
    for _ in range(MAX_RESCALINGS):
        sums = torch.stack([_largest_sum(network, floats, units, bits) for floats in feeding])
        biases = torch.stack([(f.largest_bias * units).ceil() for f in feeding]).sum(dim=0)
        excess = torch.maximum(sums.amax(dim=0) / (EXACT_IN_FLOAT32 - 1), biases / limit)
        if not saturating:
            reached = (sums.sum(dim=0) + biases) / limit
        elif theta is not None:
            reached = ROOM * theta.detach().abs() * units / limit
        else:
            reached = LOGIT_SHARE * sums.sum(dim=0) / limit
        excess = torch.maximum(excess, reached)
        if (excess <= 1).all():
            return units.min().expand_as(units) if first is network.layers[-1] else units
        units = torch.where(excess > 1, units / (1.001 * excess), units)
    raise TrainingError(f"the sums of {first.name!r} cannot be kept within int16")


def _largest_sum(network: Network, floats: FloatWeights, units: Tensor, bits: int) -> Tensor:
    """The largest magnitude of a rounded sum, ``[c_out]``."""
    steps = integers(network, floats, units, bits).abs().sum(dim=1)
    return steps * input_maximum(network, floats.layer) * floats.gain


def _least_error_scale(weight: Tensor, bits: int) -> Tensor:
    """The scale with the least squared rounding error, ``[c_out]``.

    With few bits it pays to clip the largest weights, so that all others are finer.
    """
    largest = weight.abs().amax(dim=1).clamp(min=1e-12)
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


def integers(network: Network, floats: FloatWeights, units: Tensor, bits: int) -> Tensor:
    """The layer's integer weights ``[c_out, rows]``, in a tensor of floats."""
    scale = units / input_gain(network, floats.layer)
    return rounded(floats.weight, scale, bits if floats.layer.is_matrix else DIAGONAL_BITS)


def fake_quantised(network: Network, floats: FloatWeights, units: Tensor, bits: int) -> Tensor:
    """The layer's weights ``[c_out, rows]`` on the quantiser's grid; gradients pass unchanged."""
    with torch.no_grad():
        scale = units / input_gain(network, floats.layer)
        rounding = integers(network, floats, units, bits) / scale[:, None] - floats.weight
    return floats.weight + rounding
