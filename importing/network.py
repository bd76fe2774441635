"""The float network that a graph was found to be: what is interpreted, and what is rounded.

Its layers are those of a served network (:mod:`spikeserve.models.layers`), in the same order, with
float numbers beside them; it may end in neurons, whose spikes are counted or whose potentials are
read out, where a served network ends in a ``Linear``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spikeserve.models.layers import Conv, Linear, Pool, Shape, Shortcut

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Synapse:
    """A layer with weights: currents are ``weight * x + bias``."""

    layer: Conv | Linear | Shortcut
    weight: Floats
    """``layer.weight_shape``, rows as in a bundle (kernel row, kernel column, channel)."""
    bias: Floats
    """``[c_out]``."""

    @property
    def name(self) -> str:
        return self.layer.name


@dataclass(frozen=True)
class Declared:
    """Neurons as a NIR file declares them; what they mean depends on who wrote the file."""

    name: str
    shape: Shape
    kind: Literal["IF", "LIF", "LI", "I", "Threshold"]
    tau: Floats | None
    """``[C]``, in seconds or steps; None where nothing leaks."""
    r: Floats
    v_leak: Floats
    v_threshold: Floats | None
    """None where nothing spikes."""
    v_reset: Floats | None
    """None where the file has none."""


@dataclass(frozen=True)
class Neurons:
    """Neurons whose dynamics are known; every number is ``[C]``.

        v = leak * v + (1 - leak) * rest + gain * I
        s = v >= threshold (``strict``: >)  |  how often threshold fits into v, max_spikes at most
        v = reset_to where s (hard)         |  v - s * threshold (subtract)
        v = max(v, minimum)

    ``delayed``: the reset of a step's spikes is taken off in the next step, after the leak.
    """

    name: str
    shape: Shape
    leak: Floats
    gain: Floats
    rest: Floats
    threshold: Floats
    start: Floats
    reset_to: Floats
    reset: Literal["hard", "subtract", "none"] = "hard"
    delayed: bool = False
    strict: bool = False
    max_spikes: int = 1
    minimum: Floats | None = None
    spiking: bool = True
    """Where not, the potential is what is put out: the readout."""


@dataclass(frozen=True)
class FloatNetwork:
    """Layers in order. Shortcuts stand between the synapse whose currents they join and its
    neurons, as in :class:`spikeserve.models.network.Network`."""

    layers: tuple[Synapse | Pool | Declared | Neurons, ...]

    @property
    def input_shape(self) -> Shape:
        first = self.layers[0]
        assert isinstance(first, Synapse)
        return first.layer.in_shape

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one timestep of one input."""
        return sum(layer.layer.macs for layer in self.layers if isinstance(layer, Synapse))

    @property
    def classes(self) -> int:
        """How many values are put out."""
        match self.layers[-1]:
            case Synapse(layer=layer) | (Pool() as layer):
                return math.prod(layer.out_shape)
            case neurons:
                return math.prod(neurons.shape)
