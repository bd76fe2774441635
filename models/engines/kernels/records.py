"""One record a layer: its geometry, its dynamics and where its numbers lie."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeserve.models.engines.kernels.network import PROJECTED, UNWEIGHTED
from spikeserve.models.engines.kernels.vectors import WORD
from spikeserve.models.layers import Conv, Lif, Linear, Pool, Shortcut
from spikeserve.models.network import Network, input_maximum

LAYER = np.dtype(
    [
        ("height", "i8"),
        ("width", "i8"),
        ("channels", "i8"),
        ("kernel_height", "i8"),
        ("kernel_width", "i8"),
        ("stride", "i8"),
        ("padding", "i8"),
        ("shift", "i8"),
        ("rows", "i8"),  # weight rows: kernel_height * kernel_width * channels
        ("out_height", "i8"),
        ("out_width", "i8"),
        ("out_channels", "i8"),  # padded to whole mask words
        ("packed_at", "i8"),
        ("paired_at", "i8"),
        ("channels_at", "i8"),  # in biases, thresholds and, per word, silent
        ("coverage_at", "i8"),
        ("neurons_at", "i8"),
        ("words_at", "i8"),
        ("first_pool", "i8"),
        ("last_pool", "i8"),
        ("column", "i8"),  # among the network's synaptic layers
        ("kept_at", "i8"),  # where spikes are set aside for a shortcut, or where it finds them
        ("bypass", "i8"),  # which kind of shortcut this is, if any
        ("words_in", "i8"),  # mask words of a pixel that a shortcut reads
        ("once", "u8"),
        ("analog", "u1"),  # inputs may be other than 0 and 1
        ("narrow", "u1"),  # sums of weights alone fit int16
        ("leak_multiplier", "i2"),
        ("leak_keep", "i2"),
        ("soft", "i2"),
    ],
    align=True,
)
POOL = np.dtype(
    [
        ("height", "i8"),
        ("width", "i8"),
        ("channels", "i8"),
        ("kernel", "i8"),
        ("out_height", "i8"),
        ("out_width", "i8"),
        ("kept_at", "i8"),
        ("summed", "u1"),
    ],
    align=True,
)
ALL_BITS = np.uint64(2**64 - 1)
UNREAD = -1  # spikes that no shortcut reads


def synaptic_record(network: Network, layer: Conv | Linear) -> NDArray[Any]:
    """A layer's record, without what depends on other layers."""
    record = np.zeros((), LAYER)
    height, width, channels = layer.in_shape
    record["height"], record["width"], record["channels"] = layer.in_shape
    if isinstance(layer, Linear):  # one window, as large as the input
        record["kernel_height"], record["kernel_width"], record["stride"] = height, width, 1
    else:
        record["kernel_height"] = record["kernel_width"] = layer.kernel
        record["stride"], record["padding"] = layer.stride, layer.padding
    record["rows"] = record["kernel_height"] * record["kernel_width"] * channels
    record["shift"] = layer.shift
    record["out_height"], record["out_width"] = layer.out_shape[:2]
    record["out_channels"] = -(-layer.out_channels // WORD) * WORD
    record["analog"] = input_maximum(network, layer) > 1
    return record


def set_neurons(record: Any, lif: Lif) -> None:
    record["once"] = ALL_BITS if lif.fire_once else 0
    record["soft"] = -1 if lif.reset == "soft" else 0
    # floor(v * q / 256) = floor(v * 256 q / 65536), and 256 q - 65536 where 256 q is no int16.
    large = lif.leak_q >= 128
    record["leak_multiplier"] = lif.leak_q * 256 - (65536 if large else 0)
    record["leak_keep"] = -1 if large else 0


def pool_record(pool: Pool) -> tuple[int, ...]:
    # A window of one is its own sum and maximum; as a maximum, spikes stay spikes.
    summed = pool.mode == "sum" and pool.kernel > 1
    return (*pool.in_shape, pool.kernel, *pool.out_shape[:2], UNREAD, summed)


def set_shortcut(record: Any, shortcut: Shortcut, onto: Any) -> None:
    """A shortcut's record: a convolution whose windows are its pool's."""
    record["bypass"] = PROJECTED if shortcut.projects else UNWEIGHTED
    record["height"], record["width"], record["channels"] = shortcut.in_shape
    record["kernel_height"] = record["kernel_width"] = record["stride"] = shortcut.pool
    record["rows"] = shortcut.pool**2 * shortcut.in_shape[2]
    record["words_in"] = -(-shortcut.in_shape[2] // WORD)
    for name in ("out_height", "out_width", "out_channels", "channels_at"):
        record[name] = onto[name]


def keep_sources(network: Network, layers: NDArray[Any], pools: NDArray[Any]) -> dict[str, int]:
    """Give every layer that a shortcut reads a place for its spikes; the places by name."""
    places: dict[str, int] = {}
    used = 0
    read = {shortcut.source for shortcut in of_kind(network, Shortcut)}
    layers["kept_at"] = UNREAD
    for kind, records in ((Lif, layers), (Pool, pools)):
        for layer, record in zip(of_kind(network, kind), records, strict=False):
            if layer.name in read:
                height, width, channels = layer.out_shape
                places[layer.name] = record["kept_at"] = used
                used += height * width * -(-channels // WORD)
    return places


def of_kind(network: Network, kind: Any) -> list[Any]:
    return [layer for layer in network.layers if isinstance(layer, kind)]


def pools_after(network: Network) -> tuple[list[int], list[int]]:
    """For every synaptic layer, the first and one past the last pool behind its neurons."""
    first: list[int] = []
    last: list[int] = []
    count = 0
    for layer in network.layers:
        if isinstance(layer, Pool):
            count += 1
            last[-1] = count
        elif isinstance(layer, Conv | Linear):
            first.append(count)
            last.append(count)
    return first, last
