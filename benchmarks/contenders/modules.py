"""A network's layers in another library's modules: the one walk that its twins share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from benchmarks.contenders import NO_CHAIN, Unavailable
from spikeserve.models.layers import Conv, Layer, Lif, Linear, Pool
from spikeserve.models.network import Network


def modules(network: Network, library: Any, neurons: Callable[[], Any]) -> list[Any]:
    """In the network's order; average pools as such, since weights are floats.

    Args:
        library: has torch's ``Conv2d``, ``Flatten``, ``Linear``, ``MaxPool2d`` and ``AvgPool2d``.
        neurons: makes what stands for a LIF layer.

    Raises:
        Unavailable: the network is no plain chain of layers.
    """

    def through(layer: Layer, before: list[Any], _: list[Any]) -> list[Any]:
        match layer:
            case Conv(window=window):
                shape = layer.in_shape[2], layer.out_channels
                geometry = window.kernel, window.stride, window.padding
                return [*before, library.Conv2d(*shape, *geometry, groups=layer.groups)]
            case Linear():
                full = library.Linear(math.prod(layer.in_shape), layer.out_channels)
                return [*before, library.Flatten(), full]
            case Pool(window=window):
                kind = library.MaxPool2d if layer.mode == "max" else library.AvgPool2d
                return [*before, kind(window.kernel, window.stride, window.padding)]
            case Lif():
                return [*before, neurons()]
            case _:
                raise Unavailable(NO_CHAIN)

    return network.carry([], through)
