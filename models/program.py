"""The integer program that is served: a network plus its quantised numbers.

    I[t] = clip(clip(W * s[t] >> shift) + b)        to -32768…32767

``W * s`` stays below 2^24, where float32 is exact. A shortcut's currents are clipped as well,
and again once they have joined, before the biases of both are added: in this order everywhere.

The first layer may have a *drive*, which depends on the timestep:

    I[t] = clip(clip(gain[t] * (W * (frame[t], padded with padding[t])) >> shift) + b + bias[t])

Nothing is ever dequantised: a channel's threshold absorbs its weight scale. The one
float is ``logit_scale``, which turns the classifier's integers into logits.

Programs of *format 1* have no drive, neurons that begin at 0 and lose their threshold in a soft
reset, leaks in 256ths rounded down, at most a spike a timestep, weights of 8 bits at most, so
small that nothing is ever clipped but membranes, and pixels as inputs. Whatever else a program has
makes it one of format 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeserve.models.encoding import MAX_TIMESTEPS
from spikeserve.models.errors import InvalidProgram
from spikeserve.models.layers import Lif, Synaptic
from spikeserve.models.layers.lif import COARSE_LEAK_BITS, MEMBRANE_MAX, MEMBRANE_MIN
from spikeserve.models.network import LARGEST_PIXEL, Network, input_maximum

CURRENT_LIMIT = 32767
EXACT_IN_FLOAT32 = 1 << 24
LARGEST_GAIN = 255

Ints = NDArray[np.int32]


@dataclass(frozen=True)
class IntegerWeights:
    """One layer's numbers: ``weight`` int8 ``[rows, c_out]``, ``bias`` int32 ``[c_out]``.

    Weights of more than 8 bits (the layer's ``weight_bits``) are int16. A shortcut that does not
    project has one weight a channel, which may need int16: a spike that passes unweighted is large
    beside a convolution's finest weight.
    """

    weight: NDArray[np.int8] | NDArray[np.int16]
    bias: Ints


@dataclass(frozen=True)
class IntegerNeurons:
    """One LIF layer's numbers, int32 ``[C]`` each."""

    threshold: Ints
    """32,768 is a threshold that no membrane reaches."""
    reset_by: Ints
    """What a soft reset takes away."""
    initial: Ints
    """Membrane potentials before the first timestep."""
    minimum: Ints
    """The lowest membrane potentials after a timestep."""

    @classmethod
    def plain(cls, threshold: Ints) -> IntegerNeurons:
        """Neurons that begin at 0 and lose their threshold in a soft reset."""
        return cls.unheld(threshold, threshold, np.zeros_like(threshold))

    @classmethod
    def unheld(cls, threshold: Ints, reset_by: Ints, initial: Ints) -> IntegerNeurons:
        """Neurons whose potentials may fall as far as int16 goes."""
        return cls(threshold, reset_by, initial, np.full_like(threshold, MEMBRANE_MIN))

    @property
    def is_plain(self) -> bool:
        begins = np.array_equal(self.reset_by, self.threshold) and not self.initial.any()
        return begins and not self.is_held

    @property
    def is_held(self) -> bool:
        """Whether potentials have a minimum."""
        return bool((self.minimum > MEMBRANE_MIN).any())


@dataclass(frozen=True)
class Drive:
    """What is special about the first layer at each timestep, one of S rows; the last one stays.

    A row that has done ``t`` timesteps takes row ``min(t, S - 1)``.
    """

    gain: Ints
    """``[S]``, 0…255: what the frame's currents are multiplied by before the shift."""
    bias: Ints
    """``[S, c_out]``, added to the layer's own."""
    padding: NDArray[np.uint8]
    """``[S, c_in]``: what frames are padded with."""

    @property
    def steps(self) -> int:
        return len(self.gain)

    @cached_property
    def gains(self) -> Ints:
        """The gain of every channel, ``[S, 1]``; the same array whenever it is asked for."""
        return self.gain[:, None]


@dataclass(frozen=True)
class Program:
    """A network with its numbers: weights per synaptic layer, neurons per LIF layer.

    Raises:
        InvalidProgram: a shape, dtype or bound is broken; the message names the layer.
    """

    network: Network
    weights: tuple[IntegerWeights, ...]
    neurons: tuple[IntegerNeurons, ...]
    logit_scale: float
    drive: Drive | None = None
    largest_count: int | None = None
    """Where inputs are counts of events, the largest that there may be: whoever makes frames cuts
    off what is beyond. None: pixels, 0…255."""

    def __post_init__(self) -> None:
        network = self.network
        if len(self.weights) != len(network.synaptic) or len(self.neurons) != len(network.lifs):
            raise InvalidProgram("one set of numbers per layer with weights and per LIF needed")
        if not (math.isfinite(self.logit_scale) and self.logit_scale > 0):
            raise InvalidProgram(f"logit_scale must be finite and positive, not {self.logit_scale}")
        if self.largest_count is not None and not 1 <= self.largest_count <= LARGEST_PIXEL:
            raise InvalidProgram(f"largest_count must be within 1…255, not {self.largest_count}")
        for layer, weights in zip(network.synaptic, self.weights, strict=True):
            _check_weights(layer, weights)
        for lif, neurons in zip(network.lifs, self.neurons, strict=True):
            _check_neurons(lif, neurons)
        if self.drive is not None:
            self._check_drive(self.drive)
        self._check_exact()

    def _check_drive(self, drive: Drive) -> None:
        if "drive" in (layer.name for layer in self.network.layers):
            raise InvalidProgram("beside a drive no layer may be called drive")
        first, steps = self.network.synaptic[0], drive.gain.size
        if not 1 <= steps <= MAX_TIMESTEPS:
            raise InvalidProgram(f"a drive of {steps} timesteps; 1 to {MAX_TIMESTEPS} are possible")
        _check_array("drive.gain", drive.gain, (steps,), np.int32)
        _check_array("drive.bias", drive.bias, (steps, first.out_channels), np.int32)
        _check_array("drive.padding", drive.padding, (steps, first.in_shape[2]), np.uint8)
        if drive.gain.min() < 0 or drive.gain.max() > LARGEST_GAIN:
            raise InvalidProgram(f"drive.gain must be within 0…{LARGEST_GAIN}")
        if drive.padding.max() > self.largest_input:
            raise InvalidProgram(
                f"drive.padding must not exceed largest_count, the {self.largest_input} of inputs"
            )

    def _check_exact(self) -> None:
        """Refuse sums that float32 would not hold exactly, and what has to fit int16 but does not:
        the currents of shortcuts without a matrix, and all biases that are added at once."""
        for index, (layer, weights) in enumerate(
            zip(self.network.synaptic, self.weights, strict=True)
        ):
            maximum = self._input_maximum(index)
            if maximum >= EXACT_IN_FLOAT32:  # counted as active pairs, whatever the weights are
                raise InvalidProgram(f"{layer.name}: inputs beyond 2^24 are not exact in float32")
            largest = int(np.abs(weights.weight.astype(np.int64)).sum(axis=0).max()) * maximum
            if largest >= EXACT_IN_FLOAT32:
                raise InvalidProgram(f"{layer.name}: sums beyond 2^24 are not exact in float32")
            if not layer.is_matrix and largest > CURRENT_LIMIT:
                raise InvalidProgram(f"{layer.name}: a channel can reach {largest}, beyond int16")
        for together in self._together:
            most = int(np.sum([self._largest_bias(index) for index in together], axis=0).max())
            if most > CURRENT_LIMIT:
                name = self.network.synaptic[together[0]].name
                raise InvalidProgram(f"{name}: biases reach {most}, beyond {CURRENT_LIMIT}")

    @property
    def largest_input(self) -> int:
        """The largest value of a frame."""
        return LARGEST_PIXEL if self.largest_count is None else self.largest_count

    def _input_maximum(self, index: int) -> int:
        """The largest input of a synaptic layer, times the gain of the first."""
        largest = input_maximum(self.network, self.network.synaptic[index], self.largest_input)
        if index == 0 and self.drive is not None:
            return largest * max(1, int(self.drive.gain.max()))
        return largest

    def _largest_bias(self, index: int) -> NDArray[np.int64]:
        """The largest magnitude of each channel's bias, ``[c_out]``."""
        bias: NDArray[np.int64] = self.weights[index].bias.astype(np.int64)
        driven = bias + self.drive.bias if index == 0 and self.drive is not None else bias[None]
        largest: NDArray[np.int64] = np.abs(driven).max(axis=0)
        return largest

    @property
    def _together(self) -> tuple[tuple[int, ...], ...]:
        """Indices of synaptic layers whose currents add up, the classifier's last."""
        return (*self.network.feeding, (len(self.network.synaptic) - 1,))

    @cached_property
    def counts(self) -> tuple[bool, ...]:
        """Whether each synaptic layer's inputs are counts of spikes or events, pooled or not."""
        return self.network.counts(self.largest_count is not None)

    @property
    def largest_tally(self) -> int:
        """The most active pairs of a layer, or spikes of neurons, that a timestep can have."""
        pairs = self.network.possible_pairs(self.largest_count)
        spikes = (math.prod(lif.in_shape) * lif.max_spikes for lif in self.network.lifs)
        return max(*pairs, *spikes)

    @cached_property
    def saturates(self) -> tuple[bool, ...]:
        """Whether each synaptic layer's current, or what it joins, may leave int16."""
        found = [False] * len(self.weights)
        for together in self._together:
            most = np.zeros(1, np.int64)
            for index in together:
                shift = self.network.synaptic[index].shift
                sums = largest_sum(self.weights[index].weight, self._input_maximum(index), shift)
                most = most + sums + self._largest_bias(index)
            for index in together:
                found[index] = bool(most.max() > CURRENT_LIMIT)
        return tuple(found)

    @cached_property
    def padding_sums(self) -> Ints:
        """What the first layer's windows of nothing but padding add up to, ``[S, c_out]``."""
        assert self.drive is not None
        layer, weight = self.network.synaptic[0], self.weights[0].weight.astype(np.int32)
        by_place = weight.reshape(
            layer.window.area, -1, layer.groups, weight.shape[1] // layer.groups
        )
        padding = self.drive.padding.astype(np.int32).reshape(self.drive.steps, layer.groups, -1)
        sums: Ints = np.einsum("sgi,igo->sgo", padding, by_place.sum(axis=0)).astype(np.int32)
        return sums.reshape(self.drive.steps, -1)

    @cached_property
    def format(self) -> int:
        """The oldest format that says all of this program."""
        old = (
            self.drive is None
            and all(neurons.is_plain for neurons in self.neurons)
            and self.largest_count is None
            and all(lif.leak_bits == COARSE_LEAK_BITS for lif in self.network.lifs)
            and all(lif.leak_rounding == "floor" for lif in self.network.lifs)
            and all(lif.max_spikes == 1 for lif in self.network.lifs)
            and all(layer.weight_bits is None for layer in self.network.synaptic)
            and not any(self.saturates)
        )
        return 1 if old else 2

    @property
    def largest_weight(self) -> int:
        """The largest weight magnitude of all weight matrices whose layers name no bits."""
        matrices = [
            weights.weight
            for layer, weights in zip(self.network.synaptic, self.weights, strict=True)
            if layer.is_matrix and layer.weight_bits is None
        ]
        return max((int(np.abs(weight.astype(np.int64)).max()) for weight in matrices), default=0)


def largest_sum(weight: NDArray[Any], maximum: int, shift: int) -> NDArray[np.int64]:
    """The largest magnitude of each channel's sum for inputs in 0…``maximum``, ``[c_out]``."""
    l1: NDArray[np.int64] = np.abs(weight.astype(np.int64)).sum(axis=0)
    return -((-l1 * maximum) >> shift)


def _check_weights(layer: Synaptic, weights: IntegerWeights) -> None:
    dtype = np.int16 if layer.is_wide else np.int8
    _check_array(f"{layer.name}.weight", weights.weight, layer.weight_shape, dtype)
    _check_array(f"{layer.name}.bias", weights.bias, (layer.out_channels,), np.int32)
    if layer.weight_bits is not None:
        most = int(np.abs(weights.weight.astype(np.int64)).max())
        if most >> (layer.weight_bits - 1):
            raise InvalidProgram(
                f"{layer.name}.weight reaches {most}, beyond {layer.weight_bits} bits"
            )


def _check_neurons(lif: Lif, neurons: IntegerNeurons) -> None:
    for part in fields(neurons):
        name, array = f"{lif.name}.{part.name}", getattr(neurons, part.name)
        _check_array(name, array, (lif.in_shape[2],), np.int32)
        if np.abs(array.astype(np.int64)).max() > CURRENT_LIMIT + 1:
            raise InvalidProgram(f"{name} exceeds the int16 membrane")
    fires = neurons.threshold <= MEMBRANE_MAX
    if max(neurons.initial.max(), (neurons.reset_by * fires).max()) > MEMBRANE_MAX:
        raise InvalidProgram(f"{lif.name}: reset_by or initial exceeds the int16 membrane")
    if neurons.minimum.max() > 0:
        raise InvalidProgram(f"{lif.name}: minimum must not be positive")
    if lif.max_spikes > 1 and neurons.threshold.min() < 1:
        raise InvalidProgram(
            f"{lif.name}: thresholds must be positive where neurons spike several times"
        )


def _check_array(
    name: str, array: NDArray[np.generic], shape: tuple[int, ...], dtype: type[np.generic]
) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise InvalidProgram(
            f"{name} must be {np.dtype(dtype)} {shape}, not {array.dtype} {array.shape}"
        )
