"""Integer leaky integrate-and-fire neurons: the equations, in one place.

    v = clip(floor(v * leak_q / 256) + I, -32768, 32767)
    s = v >= theta                       and not yet fired, where the layer fires once
    v = 0 where s (hard reset)           v - theta where s (soft reset)

All arrays are int32 so that no intermediate can wrap; the membrane itself always
fits int16.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikeserve.models.network import Lif

MEMBRANE_MIN, MEMBRANE_MAX = -32768, 32767

Ints = NDArray[np.int32]
Bools = NDArray[np.bool_]


def leaked(v: Ints, leak_q: int) -> Ints:
    """``floor(v * leak_q / 256)``; the arithmetic shift is the floor."""
    return v if leak_q == 256 else (v * np.int32(leak_q)) >> 8


def lif_step(
    layer: Lif, v: Ints, fired: Bools, current: Ints, threshold: Ints
) -> tuple[Bools, Ints, Bools]:
    """One timestep of one layer.

    Args:
        v: membrane ``[N, H, W, C]``.
        fired: which neurons have fired before, same shape; read only if ``fire_once``.
        current: synaptic input ``[N, H, W, C]``.
        threshold: ``[C]``.

    Returns:
        spikes, membrane and fired flags after the step, each ``[N, H, W, C]``.
    """
    v = np.clip(leaked(v, layer.leak_q) + current, MEMBRANE_MIN, MEMBRANE_MAX)
    spikes = v >= threshold
    if layer.fire_once:
        spikes &= ~fired
        fired = fired | spikes
    v = np.where(spikes, 0 if layer.reset == "hard" else v - threshold, v)
    return spikes, np.clip(v, MEMBRANE_MIN, MEMBRANE_MAX).astype(np.int32), fired
