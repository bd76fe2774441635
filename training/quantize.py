"""From a trained float network to the integer program.

Per output channel, weights are scaled so that rounding changes them least and, unless the program
may saturate, so that no sum can leave int16 (the L1 bound); thresholds and biases are expressed in
the same unit, so nothing is ever scaled back.
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
from spikeserve.models.program import (
    CURRENT_LIMIT,
    Drive,
    IntegerNeurons,
    IntegerWeights,
    Program,
    largest_sum,
)
from spikeserve.training.build import Neurons, SpikingNetwork, SynapticModule
from spikeserve.training.errors import TrainingError
from spikeserve.training.rounding import ROOM, FloatWeights, integers, membrane_units


@torch.no_grad()
def quantised(model: SpikingNetwork, bits: int) -> Program:
    """The integer program of a network whose batch-norm is folded.

    Raises:
        InvalidProgram: the result would break the integer contract.
        TrainingError: the network's dynamics can be trained, but not served.
    """
    if not model.servable:
        raise TrainingError("leaks above 1 and halving accumulation can be trained, but not served")
    network, trained = model.network, model.synaptic
    served: dict[str, Layer] = {}
    numbers: list[IntegerWeights] = []
    served_neurons: list[IntegerNeurons] = []
    drive: Drive | None = None
    for lif, neurons, feeding in zip(network.lifs, model.neurons, network.feeding, strict=True):
        floats = [trained[index].floats for index in feeding]
        layers, weights, units = _quantised_layers(
            network, floats, neurons.theta, bits, saturating=model.saturating
        )
        served |= {layer.name: layer for layer in layers}
        numbers += weights
        served_neurons.append(_quantised_neurons(neurons, units))
        if len(served_neurons) == 1:
            drive = _quantised_drive(trained[0], units)
        leak_q = round(float(neurons.leak.clamp(0, 1)) * (1 << lif.leak_bits))
        served[lif.name] = replace(lif, leak_q=leak_q)
    layers, weights, units = _quantised_layers(
        network, [trained[-1].floats], None, bits, saturating=model.saturating
    )
    served |= {layer.name: layer for layer in layers}
    described = Network(tuple(served.get(layer.name, layer) for layer in network.layers))
    logit_scale = 1 / float(units[0])
    return Program(described, (*numbers, *weights), tuple(served_neurons), logit_scale, drive)


def _quantised_neurons(neurons: Neurons, units: Tensor) -> IntegerNeurons:
    limit = CURRENT_LIMIT + 1  # a threshold no membrane reaches
    potential = neurons.theta * units
    threshold = _array(potential.ceil().clamp(-limit, limit), torch.int32)
    if not neurons.initial:
        return IntegerNeurons.plain(threshold)
    held = potential.clamp(-CURRENT_LIMIT, CURRENT_LIMIT)
    reset_by, initial = (_array(held * share, torch.int32) for share in (1, neurons.initial))
    return IntegerNeurons.unheld(threshold, reset_by, initial)


def _quantised_drive(first: SynapticModule, units: Tensor) -> Drive | None:
    if first.drive is None or first.drive_bias is None:
        return None
    return Drive(
        gain=np.array(first.drive.gains, np.int32),
        bias=_array(first.drive_bias * units, torch.int32),
        padding=np.zeros((first.drive.timesteps, first.layer.in_shape[2]), np.uint8),
    )


def _quantised_layers(
    network: Network,
    feeding: list[FloatWeights],
    theta: Tensor | None,
    bits: int,
    *,
    saturating: bool,
) -> tuple[list[Layer], list[IntegerWeights], Tensor]:
    """The layers ``feeding`` some neurons as served, their integers, and units ``[c_out]``.

    A right shift loses precision, and sums of few bits need less of it. The shift is the least
    with which currents fit int16 (biases alone, where currents may saturate), and thresholds fit
    half of int16 or less, so that membranes have room above the thresholds.
    """
    whole = membrane_units(network, feeding, bits, theta, saturating=saturating)
    room = ROOM if saturating else 2
    dtypes = [torch.int8 if floats.layer.is_matrix else torch.int16 for floats in feeding]
    weights = [
        _array(integers(network, floats, whole, bits), dtype).T.copy()
        for floats, dtype in zip(feeding, dtypes, strict=True)
    ]
    first = feeding[0].layer
    for shift in range(first.shift + 1):
        units = whole / 2**shift
        biases = [_array(floats.bias * units, torch.int32) for floats in feeding]
        roomy = theta is None or float((theta * units).abs().max()) <= CURRENT_LIMIT / room
        reached = sum(_array((f.largest_bias * units).ceil(), torch.int64) for f in feeding)
        if not saturating:
            for weight, floats in zip(weights, feeding, strict=True):
                maximum = input_maximum(network, floats.layer) * floats.gain
                reached = reached + largest_sum(weight, maximum, shift)
        if roomy and np.max(reached) <= CURRENT_LIMIT:
            break
    layers: list[Layer] = [floats.layer for floats in feeding]
    if shift != first.shift:
        layers[0] = replace(cast(Conv, first), shift=shift)  # or another kind that shifts
    return layers, [IntegerWeights(w, b) for w, b in zip(weights, biases, strict=True)], units


def _array(values: Tensor, dtype: torch.dtype) -> NDArray[Any]:
    array: NDArray[Any] = values.round().to(dtype).cpu().numpy()
    return array
