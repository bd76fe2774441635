"""How weights become integers: membrane units, and training with the rounding in the loop.

All layers that feed the same neurons count in the same unit: a channel's membrane steps per
unit of float current. A layer's integer weights are its float ones times units over its gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spikeserve.models.layers import Synaptic
from spikeserve.models.network import Network, input_maximum
from spikeserve.models.program import CURRENT_LIMIT
from spikeserve.training.errors import TrainingError

PIXEL_UNIT = 256.0  # training divides frames by it: exact in bfloat16, unlike 255
CLIPPING = torch.linspace(0.3, 1.0, 15)
"""Shares of the largest weight that may become the largest integer."""
SHRINKING = 20  # rounding may exceed what scaling promised, ever less
WIDE_BITS = 16  # of weights that form no matrix


@dataclass(frozen=True)
class Way:
    """A layer on its way into neurons, with float ``weight [c_out, rows]`` and ``bias [c_out]``."""

    layer: Synaptic
    weight: Tensor
    bias: Tensor


def input_gain(network: Network, layer: Synaptic) -> float:
    """Integer input steps per unit of the float network's input."""
    return PIXEL_UNIT if layer is network.layers[0] else float(input_maximum(network, layer))


def membrane_units(network: Network, ways: Sequence[Way], bits: int) -> Tensor:
    """Membrane steps per unit of current, ``[c_out]``, for all ``ways`` into the same neurons.

    The unit whose rounded weights are nearest to the float ones, or the largest below it with
    which no current can leave int16. The classifier has one unit for all classes, since its
    logits are compared.

    Raises:
        TrainingError: no unit does; names the layer.
    """
    first = ways[0].layer
    matrices = [w.weight / input_gain(network, w.layer) for w in ways if w.layer.is_matrix]
    units = _nearest(torch.cat(matrices, dim=1), bits)
    limit = float((CURRENT_LIMIT - 1) << first.shift)
    for _ in range(SHRINKING):
        reach = torch.stack([_reach(network, way, units, bits) for way in ways]).sum(dim=0)
        excess = reach / limit
        if (excess <= 1).all():
            return units.min().expand_as(units) if first is network.layers[-1] else units
        units = torch.where(excess > 1, units / (1.001 * excess), units)
    raise TrainingError(f"the sums of {first.name!r} cannot be kept within int16")


def _reach(network: Network, way: Way, units: Tensor, bits: int) -> Tensor:
    """The largest magnitude of a rounded current, ``[c_out]``."""
    steps = integers(network, way, units, bits).abs().sum(dim=1)
    return steps * input_maximum(network, way.layer) + (way.bias * units).abs().ceil()


def _nearest(weight: Tensor, bits: int) -> Tensor:
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


def integers(network: Network, way: Way, units: Tensor, bits: int) -> Tensor:
    """The integer weights ``[c_out, rows]`` of ``way``, as floats."""
    scale = units / input_gain(network, way.layer)
    return rounded(way.weight, scale, bits if way.layer.is_matrix else WIDE_BITS)


def fake_quantised(network: Network, way: Way, units: Tensor, bits: int) -> Tensor:
    """The weights of ``way`` rounded as the quantiser will round them, straight-through."""
    with torch.no_grad():
        scale = units / input_gain(network, way.layer)
        rounding = integers(network, way, units, bits) / scale[:, None] - way.weight
    return way.weight + rounding
