"""What enters a network: the one shape that has to be found, since all others follow from it.

Shapes in files are often wrong: some writers keep the batch or the time in them. What the first
weights read decides; a stored shape only fills in the size of the map.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from spikeserve.importing.graph import Node
from spikeserve.importing.lowering.findings import Refusal
from spikeserve.models.layers import Shape
from spikeserve.models.network import MAX_INPUTS


def input_shape(node: Node, readers: Sequence[Node]) -> tuple[Shape, bool]:
    """Of what the ``Input`` node puts out, ``(H, W, C)``, and whether it is a row of values.

    Args:
        readers: the nodes behind it, the first that say something of their input.

    Raises:
        Refusal: nothing tells, or what does says different things.
    """
    stored = _sizes(node.parameters.get("shape"))
    for reader in readers:
        weight = reader.parameters.get("weight")
        if reader.kind == "Conv2d" and isinstance(weight, np.ndarray) and weight.ndim == 4:
            channels = weight.shape[1] * int(
                np.asarray(reader.parameters.get("groups", 1)).ravel()[0]
            )
            return _map(channels, stored, _sizes(reader.parameters.get("input_shape"))), False
        if reader.kind in ("Affine", "Linear") and isinstance(weight, np.ndarray):
            if weight.ndim != 2:
                break
            return _row(weight.shape[1], weight.shape[0], stored)
    if len(stored) == 3:
        return _bounded((stored[1], stored[2], stored[0])), False
    if len(stored) == 1:
        return _bounded((1, 1, stored[0])), False
    raise Refusal(f"has the shape {stored}; (channels, height, width) is meant")


def _map(channels: int, stored: tuple[int, ...], of_weights: tuple[int, ...]) -> Shape:
    """The size of the map that a convolution of so many channels reads."""
    if len(stored) >= 3 and stored[-3] == channels:
        said = stored[-2:]
    elif len(stored) == 2 and channels == 1:
        said = stored
    else:
        said = of_weights
    if len(said) != 2:
        raise Refusal(
            f"has the shape {stored}, but {channels} channels of a map are read; export with the "
            "shape (channels, height, width) of one input"
        )
    if len(of_weights) == 2 and said != of_weights:
        raise Refusal(
            f"the input is {said[0]}x{said[1]}, the convolution behind it says {of_weights[0]}x"
            f"{of_weights[1]}"
        )
    return _bounded((said[0], said[1], channels))


def _row(read: int, put_out: int, stored: tuple[int, ...]) -> tuple[Shape, bool]:
    """The values that linear weights read, in a row; as a map where the file tells of one."""
    if len(stored) >= 3 and prod(stored[-3:]) == read:
        channels, height, width = stored[-3:]
        return _bounded((height, width, channels)), True
    if stored and read not in (prod(stored), stored[-1]) and put_out in (prod(stored), stored[-1]):
        raise Refusal(
            f"weight ({put_out}, {read}) for {stored[-1]} inputs is transposed; write [out, in]"
        )
    return _bounded((1, 1, read)), False


def _sizes(value: object) -> tuple[int, ...]:
    if not isinstance(value, np.ndarray | list | tuple) or np.asarray(value).dtype == object:
        return ()
    values = np.asarray(value, np.float64).ravel()
    if values.size > 8 or not np.isfinite(values).all() or (values != np.round(values)).any():
        return ()
    return tuple(int(extent) for extent in values)


def _bounded(shape: Shape) -> Shape:
    if min(shape) < 1 or prod(shape) > MAX_INPUTS or max(shape) > 65_536:
        raise Refusal(f"an input of {shape} (height, width, channels) is out of bounds")
    return shape
