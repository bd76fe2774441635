"""What a rule is, and how parameters are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from spikeserve.importing.graph import Node
from spikeserve.importing.lowering.findings import Refusal, Remarks
from spikeserve.importing.lowering.flows import Flow
from spikeserve.importing.network import Declared, Floats, Neurons
from spikeserve.models.layers import Shape


@dataclass(frozen=True)
class Lowered:
    """What a node came to: what its edges carry on, and the neurons that it is."""

    flow: Flow
    neurons: Declared | Neurons | None = None


@dataclass(frozen=True)
class Rule:
    """One kind of node."""

    kind: str
    needs: ClassVar[tuple[str, ...]] = ()
    """Parameters without which it means nothing."""
    unbounded: ClassVar[tuple[str, ...]] = ()
    """Parameters that may be infinite."""

    def examine(self, node: Node) -> None:
        """Look at the parameters alone.

        Raises:
            Refusal: the node cannot be served, whatever reaches it.
        """
        if missing := [name for name in self.needs if name not in node.parameters]:
            raise Refusal(f"lacks {', '.join(missing)}; the file is incomplete: export it again")
        for name, value in node.parameters.items():
            if not isinstance(value, np.ndarray):
                continue
            if np.isnan(value).any():
                raise Refusal(f"{name} holds NaN; the training has diverged, or the export failed")
            if name not in self.unbounded and np.isinf(value).any():
                raise Refusal(f"{name} holds infinite numbers")

    def lower(self, node: Node, flow: Flow, remarks: Remarks) -> Lowered:
        """What the node makes of what flows into it.

        Raises:
            Refusal: that cannot be served.
        """
        raise NotImplementedError


def numbers(parameters: Mapping[str, Any], name: str) -> Floats:
    value = parameters[name]
    if isinstance(value, str) or np.asarray(value).dtype.kind not in "fiub":
        raise Refusal(f"{name} is no array of numbers")
    return np.asarray(value, np.float64)


def pair_of(
    parameters: Mapping[str, Any], name: str, default: int | None = None
) -> tuple[int, int]:
    """A whole number, or two: down and across."""
    if name not in parameters and default is not None:
        return (default, default)
    values = numbers(parameters, name).ravel()
    if values.size not in (1, 2) or (values != np.round(values)).any() or values.min() < 0:
        raise Refusal(f"{name} is {values.tolist()}; one whole number or two are expected")
    return (int(values[0]), int(values[-1]))


def by_channel(values: Floats, shape: Shape, flat: bool, name: str) -> Floats:
    """A neuron parameter as one number a channel, ``[C]``.

    Args:
        values: one number, one a channel or one a neuron, channels first.
        shape: of the neurons ``(H, W, C)``.

    Raises:
        Refusal: other shapes, or numbers that differ within a channel.
    """
    height, width, channels = shape
    if values.size == 1:
        return np.full(channels, float(values.ravel()[0]))
    whole = (height * width * channels,) if flat else (channels, height, width)
    places = height * width
    if values.shape in (whole, (channels, height, width)):
        each = values.reshape(channels, places)
    elif values.shape in ((channels,), (channels, 1, 1)):
        each = values.reshape(channels, 1)
    else:
        raise Refusal(
            f"{name} has the shape {values.shape}, but {whole} neurons receive currents; its "
            "writer inferred another shape"
        )
    spread = float(np.ptp(each, axis=1).max())
    if spread > 1e-6 * max(1e-12, float(np.abs(each).max())):
        raise Refusal(
            f"{name} differs within a channel (by {spread:.3g}); one a channel can be served: "
            "share it among a channel's neurons and train on"
        )
    return np.ascontiguousarray(each[:, 0])
