"""From a trained float network to the integer program.

Per output channel, weights are scaled so that rounding changes them least and so that no
sum can leave int16 (the L1 bound); thresholds and biases are expressed in the same unit,
so nothing is ever scaled back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from models.network import Conv, Layer, Lif, Linear, Network, Synaptic, input_maximum
from models.program import CURRENT_LIMIT, Program, Synapses, largest_current
from training.build import SpikingNetwork, Synapse
from training.rounding import input_gain, rounded, weight_scale


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
    thetas = [layer.theta for layer in model.neurons]
    for layer in model.network.layers:
        match layer:
            case Conv() | Linear():
                fed = thetas.pop(0) if thetas else None  # the classifier feeds no neurons
                served, numbers, units = _synapses(model.network, layer, next(trained), fed, bits)
                layers.append(served)
                synapses.append(numbers)
            case Lif():
                limit = CURRENT_LIMIT + 1  # a threshold no membrane reaches
                layer_neurons = next(neurons)
                theta = (layer_neurons.theta * units).ceil().clamp(-limit, limit)
                thresholds.append(_integers(theta, torch.int32))
                leak_q = round(float(layer_neurons.leak.clamp(0, 1)) * 256)
                layers.append(replace(layer, leak_q=leak_q))
            case _:
                layers.append(layer)
    return Program(Network(tuple(layers)), tuple(synapses), tuple(thresholds), 1 / float(units[0]))


def _synapses(
    network: Network, layer: Synaptic, trained: Synapse, theta: Tensor | None, bits: int
) -> tuple[Synaptic, Synapses, Tensor]:
    """The layer as served, its numbers, and its membrane steps per float unit, ``[c_out]``.

    Few bits make small sums, which need less shifting right: the finest membrane steps are
    taken with which currents fit int16 and thresholds its half, so that membranes have room
    above them. What is shifted out is lost.
    """
    scale = weight_scale(network, layer, trained.weight, trained.bias, bits)
    gain, maximum = scale * input_gain(network, layer), input_maximum(network, layer)
    weight = _integers(rounded(trained.weight, scale, bits), torch.int8).T.copy()
    for shift in range(layer.shift + 1):
        units = gain / 2**shift
        bias = _integers(trained.bias * units, torch.int32)
        roomy = theta is None or float((theta * units).abs().max()) <= CURRENT_LIMIT / 2
        if roomy and largest_current(weight, bias, maximum, shift).max() <= CURRENT_LIMIT:
            break
    return replace(layer, shift=shift), Synapses(weight, bias), units


def _integers(values: Tensor, dtype: torch.dtype) -> NDArray[Any]:
    array: NDArray[Any] = values.round().to(dtype).cpu().numpy()
    return array
