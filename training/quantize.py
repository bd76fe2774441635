"""From a trained float network to the integer program.

Per output channel, weights are scaled so that the largest becomes ``2^(bits-1) - 1``
and so that no sum can leave int16 (the L1 bound); thresholds and biases are expressed in
the same unit, so nothing is ever scaled back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from models.network import Conv, Layer, Lif, Linear, Network, Synaptic, input_maximum
from models.program import CURRENT_LIMIT, Program, Synapses

if TYPE_CHECKING:
    from training.build import SpikingNetwork

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


@torch.no_grad()
def quantised(model: SpikingNetwork, bits: int) -> Program:
    """The integer program of a network whose batch-norm is folded.

    Raises:
        InvalidProgram: the result would break the integer contract.
    """
    layers: list[Layer] = []
    synapses, thresholds = [], []
    units = torch.ones(1)  # membrane steps per float unit, [c_out]
    trained, neurons = iter(model.synapses), iter(model.neurons)
    for layer in model.network.layers:
        match layer:
            case Conv() | Linear():
                module = next(trained)
                scale = weight_scale(model.network, layer, module.weight, module.bias, bits)
                units = scale * input_gain(model.network, layer) / 2**layer.shift
                synapses.append(
                    Synapses(
                        _integers(module.weight * scale[:, None], torch.int8).T.copy(),
                        _integers(module.bias * units, torch.int32),
                    )
                )
            case Lif():
                limit = CURRENT_LIMIT + 1  # a threshold no membrane reaches
                layer_neurons = next(neurons)
                theta = (layer_neurons.theta * units).ceil().clamp(-limit, limit)
                thresholds.append(_integers(theta, torch.int32))
                leak_q = round(float(layer_neurons.leak.clamp(0, 1)) * 256)
                layers.append(replace(layer, leak_q=leak_q))
                continue
        layers.append(layer)
    return Program(Network(tuple(layers)), tuple(synapses), tuple(thresholds), 1 / float(units[0]))


def _integers(values: Tensor, dtype: torch.dtype) -> NDArray[Any]:
    array: NDArray[Any] = values.round().to(dtype).cpu().numpy()
    return array
