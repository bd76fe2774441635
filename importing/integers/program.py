"""From the float network to the integer program, without any data but the largest spike counts.

Gains, normalisation and reset potentials are folded into weights, biases and a shift of the
membrane, so that the integer neurons begin at their start and are reset to 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np

from spikeserve.importing.data.inputs import GREY_LEVELS, Normalisation
from spikeserve.importing.dynamics.readout import Readout, served_readout
from spikeserve.importing.errors import ImportRefused
from spikeserve.importing.integers.rounding import Fed, integer, membrane_units, rounded
from spikeserve.importing.network import FloatNetwork, Floats, Neurons, Synapse
from spikeserve.models.layers import Layer, Lif, Linear, Pool, Synaptic
from spikeserve.models.layers.lif import FINE_LEAK_BITS, MEMBRANE_MAX, MEMBRANE_MIN
from spikeserve.models.network import LARGEST_PIXEL, Network, input_maximum
from spikeserve.models.program import Drive, IntegerNeurons, IntegerWeights, Program

LEAST_SPIKES = 15
ROOM = {"hard": 2.0, "subtract": 8.0, "none": 8.0}
"""How many thresholds fit into int16: potentials that saturate lose spikes, but where a reset
forgets them."""
LOGIT_ROOM = 1.5
"""How much larger than any seen a logit may be."""
COARSE, FINE = 8, 12
"""Bits of weights; those of images' first layer, whose rounding is the same at every step."""


@dataclass(frozen=True)
class Settings:
    """What rounding needs besides the network."""

    normalisation: Normalisation
    most: tuple[int, ...]
    """The most spikes of a neuron in a step, of each layer that spikes, on the user's data."""
    largest_logit: float
    """Of those that the last layer puts out, on the user's data."""
    bits: tuple[int, ...]
    """Weight bits of each group of layers that feed the same neurons, in order."""
    largest_count: int | None = None
    """Where inputs are counts of events, the largest; None: pixels."""


@dataclass(frozen=True)
class Rounded:
    """An integer program, and how its logits are read."""

    program: Program
    readout: Readout
    warnings: tuple[str, ...]


def groups(network: FloatNetwork) -> int:
    """How many groups of synaptic layers there are to round, the readout's identity left out."""
    last = network.layers[-1]
    spiking = sum(isinstance(layer, Neurons) and layer.spiking for layer in network.layers)
    return spiking + (not (isinstance(last, Neurons) and last.spiking))


def integers(full: FloatNetwork, settings: Settings) -> Rounded:
    """The integer program of a network whose neurons are all known.

    Raises:
        ImportRefused: something has no integer counterpart; names the layer.
        InvalidNetwork, InvalidProgram: nor has the whole.
    """
    network, readout = served_readout(full)
    spiking = iter(settings.most)
    plain = Network(
        tuple(
            _lif(layer, next(spiking)) if isinstance(layer, Neurons) else _described(layer)
            for layer in network.layers
        )
    )
    pixel = settings.largest_count or LARGEST_PIXEL
    served: dict[str, Layer] = {}
    weights: list[IntegerWeights] = []
    neurons: list[IntegerNeurons] = []
    warnings: list[str] = []
    pending: list[Fed] = []
    bits = iter((*settings.bits, COARSE))
    drive: Drive | None = None
    for layer in network.layers:
        if isinstance(layer, Synapse):
            largest = input_maximum(plain, layer.layer, pixel)
            fed = Fed(layer.layer, layer.weight, layer.bias, largest)
            pending.append(_normalised(fed, settings.normalisation) if not served else fed)
            served[layer.layer.name] = layer.layer
        elif isinstance(layer, Neurons):
            warnings += _spread(layer)
            first = not weights
            group = _group(layer, pending, next(bits), first=first)
            served |= {one.name: one for one in group.layers}
            weights += group.weights
            neurons.append(group.neurons)
            if first:
                drive = _drive(pending[0], settings.normalisation)
            pending = []
    last, scale = _classifier(pending, next(bits), settings.largest_logit, readout)
    served |= {one.name: one for one in last.layers}
    described = Network(tuple(served.get(layer.name, layer) for layer in plain.layers))
    program = Program(
        described,
        (*weights, *last.weights),
        tuple(neurons),
        scale,
        drive,
        settings.largest_count,
    )
    return Rounded(program, readout, tuple(warnings))


@dataclass(frozen=True)
class Group:
    """Layers that feed the same neurons, as served."""

    layers: tuple[Synaptic, ...]
    weights: tuple[IntegerWeights, ...]
    neurons: IntegerNeurons


def _described(layer: object) -> Layer:
    if isinstance(layer, Synapse):
        return layer.layer
    assert isinstance(layer, Pool)
    return layer


def _lif(neurons: Neurons, most: int) -> Lif:
    """The neurons as a layer of the served network; ``most``: of their spikes in a step."""
    leak, bits, rounding = served_leak(float(neurons.leak.mean()))
    several = min(neurons.max_spikes, max(LEAST_SPIKES, 2 * most), 255)
    return Lif(
        neurons.name,
        neurons.shape,
        leak_q=leak,
        leak_bits=bits,
        leak_rounding=rounding,
        reset="hard" if neurons.reset == "hard" else "soft",
        fire_once=False,
        max_spikes=several if neurons.max_spikes > 1 else 1,
    )


def served_leak(leak: float) -> tuple[int, Literal[8, 16], Literal["floor", "nearest"]]:
    """``leak_q``, ``leak_bits`` and ``leak_rounding``.

    To nearest, since rounding down at every step would be a drift. Powers of two are better rounded
    down: floors of halves of floors are the floor of the quarter.
    """
    fine = round(leak * (1 << FINE_LEAK_BITS))
    if fine >= 1 << FINE_LEAK_BITS:
        return 256, 8, "floor"
    halvings = -np.log2(leak) if leak > 0 else 0.0
    if abs(halvings - round(halvings)) < 1e-5:
        return (round(leak * 256), 8, "floor") if halvings <= 8 else (fine, 16, "floor")
    return fine, 16, "nearest"


def _spread(neurons: Neurons) -> list[str]:
    low, high = float(neurons.leak.min()), float(neurons.leak.max())
    if high - low <= 1e-5:
        return []
    return [
        f"{neurons.name}: its channels leak differently ({low:.4f}…{high:.4f}); served with one "
        f"leak, {float(neurons.leak.mean()):.4f}"
    ]


def _normalised(fed: Fed, normalisation: Normalisation) -> Fed:
    """The first layer for whole pixels instead of ``(pixel / scale - mean) / std``."""
    groups, area = fed.layer.groups, fed.layer.window.area
    by_input = fed.weight.reshape(area, -1, groups, fed.layer.out_channels // groups)
    shares = (np.asarray(values).reshape(groups, -1).T for values in _affine(normalisation))
    factor, offset = (share[None, :, :, None] for share in shares)
    bias = fed.bias - (by_input * offset).sum(axis=(0, 1)).reshape(-1)
    return replace(fed, weight=(by_input * factor).reshape(fed.weight.shape), bias=bias)


def _affine(normalisation: Normalisation) -> tuple[Floats, Floats]:
    """What a pixel is multiplied by, and what is subtracted then, ``[C]`` each."""
    std = normalisation.std
    return 1 / (normalisation.scale * std), normalisation.mean / std


def _drive(first: Fed, normalisation: Normalisation) -> Drive | None:
    """Padding with the grey level that is normalised to 0."""
    if not any(first.layer.window.padding) or not normalisation.mean.any():
        return None
    grey = np.round(normalisation.mean * normalisation.scale)
    if (grey < 0).any() or (grey > GREY_LEVELS).any():
        raise ImportRefused(
            f"the mean {normalisation.mean.tolist()} times {normalisation.scale:g} is no grey "
            "level 0…255, with which the first layer would be padded"
        )
    outputs = first.layer.out_channels
    return Drive(
        gain=np.ones(1, np.int32),
        bias=np.zeros((1, outputs), np.int32),
        padding=grey.astype(np.uint8)[None],
    )


def _group(neurons: Neurons, pending: Sequence[Fed], bits: int, *, first: bool) -> Group:
    """Round what feeds ``neurons``, and their own numbers.

    The membrane is shifted so that a hard reset leads to 0.
    """
    zero = neurons.reset_to if neurons.reset == "hard" else np.zeros_like(neurons.leak)
    leak = neurons.leak.mean()
    constant = (1 - neurons.leak) * (neurons.rest - zero)
    feeding = [
        replace(fed, weight=fed.weight * neurons.gain, bias=fed.bias * neurons.gain)
        for fed in pending
    ]
    feeding[0] = replace(feeding[0], bias=feeding[0].bias + constant)
    threshold, start = neurons.threshold - zero, neurons.start - zero
    if neurons.delayed and leak <= 0:
        raise ImportRefused(
            f"{neurons.name}: without memory from step to step there is no late reset"
        )
    reset_by = threshold / leak if neurons.delayed else threshold
    room = ROOM[neurons.reset]
    if neurons.max_spikes > 1:
        room = max(room, 2.0 + LEAST_SPIKES)
    high = np.maximum(room * np.abs(threshold), np.abs(reset_by))
    high = np.maximum(high, np.abs(start))
    shifts = first and len(feeding) == 1
    units, shift = membrane_units(feeding, bits, high, shifts=shifts)
    if neurons.reset == "subtract":
        units = _whole(threshold, units)
    layers, weights = _rounded_layers(feeding, units, bits, shift)
    steps = threshold * units
    above = neurons.strict and neurons.max_spikes == 1
    fires = np.floor(steps + 1e-6) + 1 if above else np.ceil(steps - 1e-6)
    if neurons.max_spikes > 1:
        fires = np.maximum(np.round(steps), 1)
    taken = {"hard": fires, "subtract": reset_by * units, "none": np.zeros_like(units)}
    low = MEMBRANE_MIN
    minimum = (
        np.full_like(units, low) if neurons.minimum is None else (neurons.minimum - zero) * units
    )
    return Group(
        layers,
        weights,
        IntegerNeurons(
            threshold=integer(fires, high=MEMBRANE_MAX + 1),
            reset_by=integer(taken[neurons.reset]),
            initial=integer(start * units),
            minimum=integer(minimum, low=low, high=0),
        ),
    )


def _whole(threshold: Floats, units: Floats) -> Floats:
    """Units, hardly smaller, in which thresholds are whole: what resets take away is exact."""
    steps = threshold * units
    whole = np.where(steps >= 16, np.floor(steps), steps)
    return np.where(steps >= 16, whole / np.where(steps >= 16, threshold, 1), units)


def _rounded_layers(
    feeding: Sequence[Fed], units: Floats, bits: int, shift: int
) -> tuple[tuple[Synaptic, ...], tuple[IntegerWeights, ...]]:
    """Layers as served, and their integers; a shift rounds down, which the bias makes up for."""
    layers, weights = [], []
    for fed in feeding:
        wide = bits > COARSE and fed.layer.is_matrix
        layer = _with(fed.layer, **({"weight_bits": bits} if wide else {}))
        layer = _with(layer, **({"shift": shift} if shift else {}))
        matrix = rounded(fed, units * 2**shift, bits)
        lost = 0.5 - 0.5 / 2**shift
        bias = integer(fed.bias * units + lost)
        whole = matrix.astype(np.int16) if layer.is_wide else matrix.astype(np.int8)
        weights.append(IntegerWeights(whole, bias))
        layers.append(layer)
    return tuple(layers), tuple(weights)


def _with(layer: Synaptic, **fields: int) -> Synaptic:
    changed: Synaptic = replace(cast(Any, layer), **fields)
    return changed


def _classifier(
    pending: Sequence[Fed], bits: int, largest_logit: float, readout: Readout
) -> tuple[Group, float]:
    """The last layer, in one unit for all classes, since logits are compared; and their scale."""
    (fed,) = pending
    assert isinstance(fed.layer, Linear)
    if readout.kind == "spikes":
        identity = rounded(fed, np.ones(fed.layer.out_channels), COARSE).astype(np.int8)
        nothing = np.zeros(fed.layer.out_channels, np.int32)
        return Group((fed.layer,), (IntegerWeights(identity, nothing),), _nobody()), 1.0
    high = np.full(fed.layer.out_channels, LOGIT_ROOM * largest_logit)
    units, _ = membrane_units([fed], bits, high, shifts=False)
    units = np.full_like(units, units.min())
    layers, weights = _rounded_layers([fed], units, bits, 0)
    return Group(layers, weights, _nobody()), 1 / float(units[0])


def _nobody() -> IntegerNeurons:
    return IntegerNeurons.plain(np.zeros(0, np.int32))
