"""How a float network's weights become integers: membrane units, in plain numpy.

All layers that feed the same neurons share a channel's unit: membrane steps per unit of potential.
The twin of :mod:`spikeserve.training.rounding`, which rounds while it trains and needs torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeserve.importing.errors import ImportRefused
from spikeserve.importing.network import Floats
from spikeserve.models.layers import Synaptic
from spikeserve.models.program import CURRENT_LIMIT, EXACT_IN_FLOAT32

CLIPPING = np.linspace(0.3, 1.0, 15)
"""Shares of the largest weight that are tried as the largest integer."""
DIAGONAL_BITS = 16  # of a shortcut's weights, one a channel
LARGEST_SHIFT = 24
LARGEST_UNIT = 1e9  # of channels without weights
MAX_RESCALINGS = 20  # rounding may exceed what scaling promised, by less each time


@dataclass(frozen=True)
class Fed:
    """A layer that feeds neurons, for inputs as the integer program sees them."""

    layer: Synaptic
    weight: Floats
    """``[rows, c_out]``: potential per step of input."""
    bias: Floats
    """``[c_out]``, of potential."""
    largest: int
    """The largest input."""


def membrane_units(
    feeding: Sequence[Fed], bits: int, high: Floats, *, shifts: bool
) -> tuple[Floats, int]:
    """Membrane steps per unit of potential, ``[c_out]``, and the right shift before the bias.

    The unit with the least squared rounding error, or the largest below that with which sums stay
    exact and int16 holds the potentials ``high [c_out]``, with all biases still to be added or
    not. Where ``shifts``, weights may be finer than that, and their sums are shifted.

    Raises:
        ImportRefused: no unit does; names the layer.
    """
    matrices = [fed.weight for fed in feeding if fed.layer.is_matrix]
    whole = least_error_scale(np.concatenate(matrices), bits)
    for fed in feeding:
        if not fed.layer.is_matrix:
            most = np.abs(fed.weight[0]) * fed.largest
            whole = np.minimum(whole, (CURRENT_LIMIT - 1) / np.maximum(most, 1e-12))
    whole = _exact(feeding, whole, bits)
    biases = np.sum([np.abs(fed.bias) for fed in feeding], axis=0)
    fits = (CURRENT_LIMIT - len(feeding)) / np.maximum(high + biases, 1e-12)
    if not shifts:
        return np.minimum(whole, fits), 0
    # Half of the channels keep their finest weights; the others need no finer ones than that.
    shift = int(np.clip(np.ceil(np.log2(np.median(whole / fits))), 0, LARGEST_SHIFT))
    return np.minimum(whole / 2**shift, fits), shift


def _exact(feeding: Sequence[Fed], units: Floats, bits: int) -> Floats:
    for _ in range(MAX_RESCALINGS):
        sums = np.max(
            [np.abs(rounded(fed, units, bits)).sum(axis=0) * fed.largest for fed in feeding], axis=0
        )
        excess = sums / (EXACT_IN_FLOAT32 - 1)
        if (excess <= 1).all():
            return units
        units = np.where(excess > 1, units / (1.001 * excess), units)
    raise ImportRefused(f"the sums of {feeding[0].layer.name} cannot be kept below 2^24")


def least_error_scale(weight: Floats, bits: int) -> Floats:
    """The scale with the least squared rounding error of ``weight [rows, c_out]``, ``[c_out]``.

    With few bits it pays to clip the largest weights, so that all others are finer.
    """
    limit = 2 ** (bits - 1) - 1
    largest = np.maximum(np.abs(weight).max(axis=0), limit / LARGEST_UNIT)
    scales = limit / (largest * CLIPPING[:, None])
    errors = [
        np.square(np.clip(np.round(weight * scale), -limit, limit) / scale - weight).sum(axis=0)
        for scale in scales
    ]
    best: Floats = np.take_along_axis(scales, np.argmin(errors, axis=0)[None], axis=0)[0]
    return best


def rounded(fed: Fed, units: Floats, bits: int) -> NDArray[np.int64]:
    """The layer's integer weights ``[rows, c_out]``, in whole steps of ``units [c_out]``."""
    limit = 2 ** ((bits if fed.layer.is_matrix else DIAGONAL_BITS) - 1) - 1
    steps = np.clip(np.round(fed.weight * units), -limit, limit)
    return steps.astype(np.int64)


def integer(values: Any, low: int = -CURRENT_LIMIT, high: int = CURRENT_LIMIT) -> NDArray[np.int32]:
    """To whole numbers within ``low`` and ``high``."""
    whole: NDArray[np.int32] = np.clip(np.round(values), low, high).astype(np.int32)
    return whole
