"""From a trained float network to the integer program.

Per output channel, weights are scaled so that rounding changes them least and so that no
sum can leave int16 (the L1 bound); thresholds and biases are expressed in the same unit,
so nothing is ever scaled back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikeserve.models.layers import Conv, Layer
from spikeserve.models.network import Network, input_maximum
from spikeserve.models.program import CURRENT_LIMIT, IntegerNeurons, IntegerWeights, Program, largest_sum
from spikeserve.training.build import SpikingNetwork
from spikeserve.training.rounding import FloatWeights, integers, membrane_units


@torch.no_grad()
def quantised(model: SpikingNetwork, bits: int) -> Program:
    """The integer program of a network whose batch-norm is folded.

    Raises:
        InvalidProgram: the result would break the integer contract.
    """
    network, trained = model.network, model.synaptic
    served: dict[str, Layer] = {}
    numbers: list[IntegerWeights] = []
    thresholds = []
    for lif, neurons, feeding in zip(network.lifs, model.neurons, network.feeding, strict=True):
        floats = [trained[index].floats for index in feeding]
        layers, weights, units = _quantised_layers(network, floats, neurons.theta, bits)
        served |= {layer.name: layer for layer in layers}
        numbers += weights
        limit = CURRENT_LIMIT + 1  # a threshold no membrane reaches
        theta = (neurons.theta * units).ceil().clamp(-limit, limit)
        thresholds.append(_array(theta, torch.int32))
        leak_q = round(float(neurons.leak.clamp(0, 1)) * 256)
        served[lif.name] = replace(lif, leak_q=leak_q)
    layers, weights, units = _quantised_layers(network, [trained[-1].floats], None, bits)
    served |= {layer.name: layer for layer in layers}
    described = Network(tuple(served.get(layer.name, layer) for layer in network.layers))
    neurons = tuple(map(IntegerNeurons.plain, thresholds))
    return Program(described, (*numbers, *weights), neurons, 1 / float(units[0]))


def _quantised_layers(
    network: Network, feeding: list[FloatWeights], theta: Tensor | None, bits: int
) -> tuple[list[Layer], list[IntegerWeights], Tensor]:
    """The layers ``feeding`` some neurons as served, their integers, and units ``[c_out]``.

    A right shift loses precision, and sums of few bits need less of it. The shift is the least
    with which currents fit int16 and thresholds fit half of int16, so that membranes have room
    above the thresholds.
    """
    whole = membrane_units(network, feeding, bits)
    dtypes = [torch.int8 if floats.layer.is_matrix else torch.int16 for floats in feeding]
    weights = [
        _array(integers(network, floats, whole, bits), dtype).T.copy()
        for floats, dtype in zip(feeding, dtypes, strict=True)
    ]
    first = feeding[0].layer
    for shift in range(first.shift + 1):
        units = whole / 2**shift
        biases = [_array(floats.bias * units, torch.int32) for floats in feeding]
        roomy = theta is None or float((theta * units).abs().max()) <= CURRENT_LIMIT / 2
        currents = sum(
            largest_sum(weight, input_maximum(network, floats.layer), shift) + np.abs(bias)
            for weight, bias, floats in zip(weights, biases, feeding, strict=True)
        )
        if roomy and np.max(currents) <= CURRENT_LIMIT:
            break
    layers: list[Layer] = [floats.layer for floats in feeding]
    if shift != first.shift:
        layers[0] = replace(cast(Conv, first), shift=shift)  # or another kind that shifts
    return layers, [IntegerWeights(w, b) for w, b in zip(weights, biases, strict=True)], units


def _array(values: Tensor, dtype: torch.dtype) -> NDArray[Any]:
    array: NDArray[Any] = values.round().to(dtype).cpu().numpy()
    return array
