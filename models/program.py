"""The integer program that is served: a network plus its quantised numbers.

    I[t] = (W * s[t] >> shift) + b       int32
    L1(W_c) * max(s) + |b_c| <= 32767    per channel, over all layers that feed the same
                                         neurons, so an int16 sum cannot overflow in any
                                         order (first layer: after the shift)

Nothing is ever dequantised: a channel's threshold absorbs its weight scale. The one
float is ``logit_scale``, which turns the classifier's integers into logits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeserve.models.errors import InvalidProgram
from spikeserve.models.network import Network, input_maximum

CURRENT_LIMIT = 32767
EXACT_IN_FLOAT32 = 1 << 24


@dataclass(frozen=True)
class IntegerWeights:
    """One layer's numbers: ``weight`` int8 ``[rows, c_out]``, ``bias`` int32 ``[c_out]``.

    A shortcut that does not project has one weight a channel, which may need int16: a spike
    that passes unweighted is large beside a convolution's finest weight.
    """

    weight: NDArray[np.int8] | NDArray[np.int16]
    bias: NDArray[np.int32]


@dataclass(frozen=True)
class Program:
    """A network with one ``IntegerWeights`` per synaptic layer and one threshold vector per LIF.

    Raises:
        InvalidProgram: a shape, dtype or bound is broken; the message names the layer.
    """

    network: Network
    weights: tuple[IntegerWeights, ...]
    thresholds: tuple[NDArray[np.int32], ...]
    logit_scale: float

    def __post_init__(self) -> None:
        network = self.network
        if len(self.weights) != len(network.synaptic) or len(self.thresholds) != len(network.lifs):
            raise InvalidProgram("one set of weights per layer and one threshold per LIF needed")
        if not (math.isfinite(self.logit_scale) and self.logit_scale > 0):
            raise InvalidProgram(f"logit_scale must be finite and positive, not {self.logit_scale}")
        for layer, weights in zip(network.synaptic, self.weights, strict=True):
            dtype = np.int8 if layer.is_matrix else np.int16
            _check_array(f"{layer.name}.weight", weights.weight, layer.weight_shape, dtype)
            _check_array(f"{layer.name}.bias", weights.bias, (layer.out_channels,), np.int32)
        for together in (*network.feeding, (len(network.synaptic) - 1,)):
            self._check_bound(together)
        for lif, threshold in zip(network.lifs, self.thresholds, strict=True):
            _check_array(f"{lif.name}.threshold", threshold, (lif.in_shape[2],), np.int32)
            if np.abs(threshold.astype(np.int64)).max() > CURRENT_LIMIT + 1:
                raise InvalidProgram(f"{lif.name}.threshold exceeds the int16 membrane")

    def _check_bound(self, together: tuple[int, ...]) -> None:
        """Refuse layers that feed the same neurons if their sums could leave their range."""
        layers = [self.network.synaptic[index] for index in together]
        currents = np.zeros(layers[0].out_channels, np.int64)
        for index, layer in zip(together, layers, strict=True):
            weights, maximum = self.weights[index], input_maximum(self.network, layer)
            if maximum >= EXACT_IN_FLOAT32:  # counted as active pairs, whatever the weights are
                raise InvalidProgram(f"{layer.name}: inputs beyond 2^24 are not exact in float32")
            currents += largest_current(weights.weight, weights.bias, maximum, layer.shift)
            l1 = np.abs(weights.weight.astype(np.int64)).sum(axis=0).max()
            if l1 * maximum >= EXACT_IN_FLOAT32:
                raise InvalidProgram(f"{layer.name}: sums beyond 2^24 are not exact in float32")
        if currents.max() > CURRENT_LIMIT:
            channel = int(currents.argmax())
            raise InvalidProgram(
                f"{layers[0].name}: channel {channel} can reach {currents[channel]}, "
                f"beyond {CURRENT_LIMIT}"
            )

    @property
    def largest_weight(self) -> int:
        """The largest weight magnitude of all weight matrices."""
        matrices = [s.weight for s in self.weights if s.weight.dtype == np.int8]
        return max(int(np.abs(weight.astype(np.int64)).max()) for weight in matrices)


def largest_current(
    weight: NDArray[Any], bias: NDArray[np.int32], maximum: int, shift: int
) -> NDArray[np.int64]:
    """The largest magnitude of each channel's current for inputs in 0…``maximum``, ``[c_out]``."""
    l1: NDArray[np.int64] = np.abs(weight.astype(np.int64)).sum(axis=0)
    return -((-l1 * maximum) >> shift) + np.abs(bias.astype(np.int64))


def _check_array(
    name: str, array: NDArray[np.generic], shape: tuple[int, ...], dtype: type[np.generic]
) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise InvalidProgram(
            f"{name} must be {np.dtype(dtype)} {shape}, not {array.dtype} {array.shape}"
        )
