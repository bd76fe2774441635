"""A program laid out for the kernels: flat arrays, padded channels, one record a layer."""

from __future__ import annotations

import math
import mmap
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.engines.kernels.network import BLOCK, BURST
from models.engines.kernels.vectors import WORD
from models.errors import EngineUnavailable
from models.network import (
    MAX_NEURONS,
    MAX_WEIGHTS,
    Lif,
    Linear,
    Network,
    Pool,
    Synaptic,
    coverage,
    input_maximum,
)
from models.neurons import MEMBRANE_MAX as INT16_MAX
from models.program import Program

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
        ("summed", "u1"),
    ],
    align=True,
)
HUGE = 1 << 21
ALL_BITS = np.uint64(2**64 - 1)


@dataclass(frozen=True)
class Layout:
    """Everything the kernels read, in the order they take it, and the sizes they need."""

    layers: NDArray[Any]
    pools: NDArray[Any]
    packed: NDArray[np.int8]
    paired: NDArray[np.int16]
    biases: NDArray[np.int16]
    thresholds: NDArray[np.int16]
    silent: NDArray[np.uint64]
    coverage: NDArray[np.int64]

    @cached_property
    def tables(self) -> tuple[NDArray[Any], ...]:
        return (
            self.layers, self.pools, self.packed, self.paired,
            self.biases, self.thresholds, self.silent, self.coverage,
        )  # fmt: skip

    @cached_property
    def inputs(self) -> int:
        """Values of a frame."""
        return math.prod(int(self.layers[name][0]) for name in ("height", "width", "channels"))

    @cached_property
    def neurons(self) -> int:
        """Membranes of a row, padding included."""
        return int((self._positions * self.layers["out_channels"])[:-1].sum())

    @cached_property
    def words(self) -> int:
        """Words of fired flags of a row."""
        return self.neurons // WORD

    @property
    def _positions(self) -> NDArray[np.int64]:
        positions: NDArray[np.int64] = self.layers["out_height"] * self.layers["out_width"]
        return positions

    def scratch(self) -> tuple[NDArray[Any], ...]:
        """Working memory for one thread."""
        layers = self.layers
        sites = layers["height"] * layers["width"]
        pitch = (layers["width"] + 2 * layers["padding"]) * layers["channels"]
        rows = layers["height"] + 2 * layers["padding"]
        analog = layers["analog"]
        values = [pool["height"] * pool["width"] * pool["channels"] for pool in self.pools]
        return (
            np.zeros(int((layers["out_width"] * BLOCK).max()), np.int16),  # currents
            np.zeros(int((self._positions * layers["out_channels"]).max()) // WORD, np.uint64),
            np.zeros(int((sites * layers["channels"]).max()) + BURST, np.int32),  # events
            np.zeros(int(sites.max()) + 1, np.int32),  # pointer
            np.zeros(max([1, *values]), np.int32),  # values
            np.zeros(int((rows * pitch * analog).max()) + 1, np.int16),  # padded
        )

    @classmethod
    def of(cls, program: Program) -> Layout:
        """The layout of a program.

        Raises:
            EngineUnavailable: inputs or sums of a layer do not fit the kernels' int16.
        """
        network = program.network
        layers = np.array([_synaptic(network, layer) for layer in network.synaptic], LAYER)
        pools = [layer for layer in network.layers if isinstance(layer, Pool)]
        layers["narrow"] = [
            _largest_sum(synapses.weight) <= INT16_MAX for synapses in program.synapses
        ]
        _check_range(network, layers)
        channels = [int(count) for count in layers["out_channels"]]
        weights = [_padded(s.weight, c) for s, c in zip(program.synapses, channels, strict=True)]
        biases = [_padded(s.bias, c) for s, c in zip(program.synapses, channels, strict=True)]
        thresholds = [_padded(t, c) for t, c in zip(program.thresholds, channels, strict=False)]
        unused = [
            np.arange(c) >= t.size for t, c in zip(program.thresholds, channels, strict=False)
        ]
        packs = [packed(weight) for weight in weights]
        pairs = [
            paired(record, weight) if record["analog"] else np.empty(0, np.int16)
            for record, weight in zip(layers, weights, strict=True)
        ]
        coverages = [coverage(layer).ravel() for layer in network.synaptic]
        for record, lif in zip(layers, network.lifs, strict=False):
            _neurons(record, lif)
        layers["packed_at"] = _starts([pack.size for pack in packs])
        layers["paired_at"] = _starts([pair.size for pair in pairs])
        layers["channels_at"] = _starts(channels)
        layers["coverage_at"] = _starts([seen.size for seen in coverages])
        positions = layers["out_height"] * layers["out_width"]
        layers["neurons_at"] = _starts(list(positions * channels))
        layers["words_at"] = layers["neurons_at"] // WORD
        layers["first_pool"], layers["last_pool"] = _pools_after(network)
        theta = np.concatenate(thresholds)
        return cls(
            layers,
            np.array([_pool(pool) for pool in pools], POOL),
            aligned(np.concatenate(packs)),
            aligned(np.concatenate(pairs)),
            np.concatenate(biases).astype(np.int16),
            np.minimum(theta, INT16_MAX).astype(np.int16),
            _words((theta > INT16_MAX) | np.concatenate(unused)),
            np.concatenate(coverages),
        )


def aligned(values: NDArray[Any]) -> NDArray[Any]:
    """A copy that starts on a page, in huge pages where the system gives them.

    A weight row then never straddles one cache line more than it must, and all of them
    need few address translations.
    """
    size = values.nbytes + HUGE + mmap.PAGESIZE
    if hasattr(mmap, "MAP_PRIVATE"):  # shared memory gets no huge pages
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    else:
        memory = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE") and values.nbytes > HUGE // 2:
        with suppress(OSError):  # a kernel built without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    raw = np.frombuffer(memory, np.uint8)
    start = -raw.ctypes.data % HUGE
    copy = raw[start : start + values.nbytes].view(values.dtype)
    copy[:] = values
    return copy


def packed(weight: NDArray[np.int8]) -> NDArray[np.int8]:
    """Weights ``[rows, c_out]`` as the gather kernels read them, flat.

    Blocks of 128 output channels (a last one of 64), row after row; within a row the
    first half of a block's channels are the low bytes of its 16-bit lanes, plus 128, and
    the second half the high bytes.
    """
    channels = weight.shape[1]
    edge = channels - channels % BLOCK
    parts = [_lanes(blocked(weight[:, :edge], BLOCK), BLOCK)]
    parts.append(_lanes(blocked(weight[:, edge:], WORD), WORD))
    return np.concatenate(parts)


def paired(record: Any, weight: NDArray[np.int8]) -> NDArray[np.int16]:
    """Weights ``[rows, c_out]`` for two inputs at a time, flat.

    Blocks of 64 output channels, window row after window row; each row's inputs in pairs,
    an odd last one beside a zero weight, and a channel's two weights side by side.
    """
    channels = weight.shape[1]
    taps = weight.reshape(int(record["kernel_height"]), -1, channels)
    even = np.pad(taps, ((0, 0), (0, taps.shape[1] % 2), (0, 0)))
    pairs = even.reshape(len(even), -1, 2, channels // WORD, WORD)
    return pairs.transpose(3, 0, 1, 4, 2).astype(np.int16).ravel()


def blocked(weight: NDArray[np.int8], width: int) -> NDArray[np.int8]:
    """``[rows, c_out]`` to flat ``[c_out / width, rows, width]``."""
    rows, channels = weight.shape
    return weight.reshape(rows, channels // width, width).transpose(1, 0, 2).ravel()


def _lanes(weight: NDArray[np.int8], width: int) -> NDArray[np.int8]:
    halves = weight.reshape(-1, 2, width // 2)
    low = (halves[:, 0] + np.int16(128)).astype(np.uint8).view(np.int8)
    return np.stack([low, halves[:, 1]], axis=2).ravel()


def _padded(values: NDArray[Any], channels: int) -> NDArray[Any]:
    """Zeros appended along the last axis up to ``channels``."""
    missing = channels - values.shape[-1]
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)])


def _words(flags: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """64 flags a word, the first one lowest."""
    return np.packbits(flags, bitorder="little").view("<u8").astype(np.uint64)


def _starts(sizes: list[int]) -> NDArray[np.int64]:
    """Where each part begins when parts of these sizes lie end to end."""
    return np.cumsum([0, *sizes[:-1]])


def _synaptic(network: Network, layer: Synaptic) -> NDArray[Any]:
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


def _neurons(record: Any, lif: Lif) -> None:
    record["once"] = ALL_BITS if lif.fire_once else 0
    record["soft"] = -1 if lif.reset == "soft" else 0
    # floor(v * q / 256) = floor(v * 256 q / 65536), and 256 q - 65536 where 256 q is no int16.
    large = lif.leak_q >= 128
    record["leak_multiplier"] = lif.leak_q * 256 - (65536 if large else 0)
    record["leak_keep"] = -1 if large else 0


def _pool(pool: Pool) -> tuple[int, ...]:
    # A window of one is its own sum and maximum; as a maximum, spikes stay spikes.
    summed = pool.mode == "sum" and pool.kernel > 1
    return (*pool.in_shape, pool.kernel, *pool.out_shape[:2], summed)


def _pools_after(network: Network) -> tuple[list[int], list[int]]:
    """For every synaptic layer, the first and one past the last pool behind its neurons."""
    first: list[int] = []
    last: list[int] = []
    count = 0
    for layer in network.layers:
        if isinstance(layer, Pool):
            count += 1
            last[-1] = count
        elif isinstance(layer, Synaptic):
            first.append(count)
            last.append(count)
    return first, last


def _largest_sum(weight: NDArray[np.int8]) -> int:
    """The largest sum of weight magnitudes of a channel."""
    return max(
        int(np.abs(weight[:, k : k + WORD].astype(np.int16)).sum(axis=0, dtype=np.int64).max())
        for k in range(0, weight.shape[1], WORD)
    )


def _check_range(network: Network, layers: NDArray[Any]) -> None:
    """Refuse what does not fit 16 bits, and what padding would blow up, before allocating."""
    for layer, record in zip(network.synaptic, layers, strict=True):
        if input_maximum(network, layer) > INT16_MAX or not (record["narrow"] or record["analog"]):
            raise EngineUnavailable(
                f"inputs or sums of {layer.name!r} exceed the event engine's int16; "
                "the onnx engine can run this bundle"
            )
    neurons = layers["out_height"] * layers["out_width"] * layers["out_channels"]
    weights = layers["rows"] * layers["out_channels"]
    if neurons[:-1].sum() > MAX_NEURONS or weights.sum() > MAX_WEIGHTS:
        raise EngineUnavailable(
            f"with channels in groups of {WORD} the event engine would need {neurons[:-1].sum()} "
            f"neurons and {weights.sum()} weights; the onnx engine can run this bundle"
        )
