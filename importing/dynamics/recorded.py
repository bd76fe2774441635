"""What a framework answered, from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spikeserve.importing.data.arrays import array_of
from spikeserve.importing.errors import ImportRefused
from spikeserve.importing.network import Floats

NAMES = ("outputs", "golden", "output", "logits", "spikes")
FEW = 8


def recorded(path: Path, timesteps: int, classes: int, inputs: int) -> list[Floats]:
    """Outputs ``[T, N, K]`` of the first N inputs; of ``[N, T, K]`` too, where N is T both ways.

    Raises:
        ImportRefused: they have no such form, or are not finite.
    """
    array = array_of(path, NAMES)
    if array.dtype.kind not in "uifb":
        raise ImportRefused(f"{path}: numbers are expected, not {array.dtype}")
    if array.ndim < 3 or timesteps not in array.shape[:2]:
        raise ImportRefused(
            f"{path}: outputs of shape {array.shape}; [{timesteps}, N, {classes}] or [N, "
            f"{timesteps}, {classes}] are expected: what the last layer puts out at each of the "
            f"--timesteps {timesteps} steps, before anything is averaged"
        )
    values = np.asarray(array, np.float64).reshape(*array.shape[:2], -1)
    if values.shape[2] != classes:
        raise ImportRefused(
            f"{path}: outputs of {values.shape[2]} values, but the network puts out {classes}"
        )
    if not np.isfinite(values).all():
        raise ImportRefused(f"{path}: outputs that are not finite")
    if not values.any():
        raise ImportRefused(f"{path}: all outputs are 0, which tells no meaning from another")
    forms = []
    if values.shape[0] == timesteps:
        forms.append(values)
    if values.shape[1] == timesteps:
        forms.append(values.swapaxes(0, 1))
    return [form[:, :inputs] for form in forms]
