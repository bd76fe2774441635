"""Random networks with random programs, as hypothesis draws them: any shape, any extreme."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikeserve.models.engines.contract import Engine, Step
from spikeserve.models.engines.event import EventEngine
from spikeserve.models.engines.onnx import OnnxEngine
from spikeserve.models.engines.reference import ReferenceEngine
from spikeserve.models.engines.torch import TorchEngine
from spikeserve.models.layers import Conv, Layer, Lif, Linear, Pool, Shape, Shortcut, Synaptic
from spikeserve.models.layers.lif import (
    COARSE_LEAK_BITS,
    FINE_LEAK_BITS,
    MEMBRANE_MAX,
    MEMBRANE_MIN,
)
from spikeserve.models.layers.window import pair
from spikeserve.models.network import LARGEST_PIXEL, Network, input_maximum
from spikeserve.models.program import (
    CURRENT_LIMIT,
    EXACT_IN_FLOAT32,
    Drive,
    IntegerNeurons,
    IntegerWeights,
    Program,
)
from spikeserve.training.export import step_graph

Frames = NDArray[np.uint8]
WEIGHT_BITS = [None, None, 2, 8, 9, 12, 16]
MAX_SPIKES = [1, 1, 1, 2, 7, 255]


def both(draw: st.DrawFn, numbers: st.SearchStrategy[int]) -> int | tuple[int, int]:
    """One number for both directions, or two."""
    return draw(st.one_of(numbers, st.tuples(numbers, numbers)))


@st.composite
def convolutions(draw: st.DrawFn, name: str, shape: Shape, first: bool) -> Conv:
    """Any window that fits, and any number of groups."""
    kernel = both(draw, st.integers(1, 5))
    stride = both(draw, st.integers(1, 3))
    short = max(k - extent for k, extent in zip(pair(kernel), shape[:2], strict=True))
    padding = both(draw, st.integers((max(0, short) + 1) // 2, 4))
    if draw(st.booleans()):  # keeps the map's size, so that shortcuts fit
        odd: list[int | tuple[int, int]] = [1, 3, (3, 1), (1, 5)]
        kernel = draw(st.sampled_from(odd))
        padding = (pair(kernel)[0] // 2, pair(kernel)[1] // 2)
        stride = 1
    channels = draw(st.sampled_from([1, 3, 63, 64, 65, 128, 130, 192]))
    groups = draw(st.sampled_from([g for g in range(1, shape[2] + 1) if shape[2] % g == 0]))
    if draw(st.booleans()):  # as many outputs a group as inputs: depthwise where they are one
        channels = shape[2]
    return Conv(
        name,
        shape,
        -(-channels // groups) * groups,
        kernel=kernel,
        stride=stride,
        padding=padding,
        shift=draw(st.integers(3, 7)) if first else draw(st.sampled_from([0, 0, 2])),
        groups=groups,
        weight_bits=draw(st.sampled_from(WEIGHT_BITS)),
    )


@st.composite
def neurons(draw: st.DrawFn, name: str, shape: Shape) -> Lif:
    """Any leak and reset."""
    leak_bits: Literal[8, 16] = FINE_LEAK_BITS if draw(st.booleans()) else COARSE_LEAK_BITS
    leaks = [0, 1, 127, 128, 200, 255, 256]
    if leak_bits == FINE_LEAK_BITS:
        leaks += [257, 32767, 32768, 51234, 65535, 65536]
    max_spikes = draw(st.sampled_from(MAX_SPIKES))
    return Lif(
        name,
        shape,
        leak_q=draw(st.sampled_from(leaks)),
        reset=draw(st.sampled_from(["hard", "soft"])) if max_spikes == 1 else "soft",
        fire_once=draw(st.booleans()) if max_spikes == 1 else False,
        leak_bits=leak_bits,
        leak_rounding=draw(st.sampled_from(["floor", "nearest"])),
        max_spikes=max_spikes,
    )


@st.composite
def pools(draw: st.DrawFn, name: str, shape: Shape) -> Pool:
    """Any window that fits: rectangular, overlapping or with gaps, padded or not."""
    kernel = tuple(draw(st.integers(1, min(3, extent))) for extent in shape[:2])
    modes: list[Literal["max", "sum"]] = ["max", "sum"]
    return Pool(
        name,
        shape,
        kernel=kernel[0] if kernel[0] == kernel[1] else (kernel[0], kernel[1]),
        mode=draw(st.sampled_from(modes)),
        stride=draw(st.sampled_from([None, both(draw, st.integers(1, 4))])),
        padding=(draw(st.integers(0, kernel[0] // 2)), draw(st.integers(0, kernel[1] // 2))),
    )


@st.composite
def layers(draw: st.DrawFn) -> tuple[Layer, ...]:
    """One to three convolutions with neurons, shortcuts and pools, then a classifier."""
    small = st.integers(1, 9)
    shape = (draw(small), draw(small), draw(st.sampled_from([1, 2, 3, 4, 5, 6, 70, 128])))
    sequence: list[Layer] = []
    spiking: list[Layer] = []
    for index in range(draw(st.integers(1, 3))):
        conv = draw(convolutions(f"conv{index}", shape, index == 0))
        lif = draw(neurons(f"lif{index}", conv.out_shape))
        ways = shortcuts(spiking, conv)
        sequence += [conv, *draw(st.sampled_from([[], *([way] for way in ways)])), lif]
        binary = lif.max_spikes == 1
        spiking += [lif] if binary else []
        shape = lif.out_shape
        for position in range(draw(st.integers(0, 2))):
            pool = draw(pools(f"pool{index}.{position}", shape))
            sequence.append(pool)
            shape = pool.out_shape
            binary &= pool.spiking
            spiking += [pool] if binary else []
    bits = draw(st.sampled_from(WEIGHT_BITS))
    return (*sequence, Linear("classifier", shape, draw(st.integers(2, 70)), weight_bits=bits))


def shortcuts(spiking: list[Layer], onto: Conv) -> list[Shortcut]:
    """All shortcuts from spikes to the currents of ``onto``."""
    found = []
    for source in spiking:
        for pool in (1, 2, 3):
            for projects in (False, True):
                way = Shortcut(
                    f"to.{onto.name}",
                    source.name,
                    source.out_shape,
                    onto.out_channels,
                    pool,
                    projects,
                )
                if way.out_shape == onto.out_shape and (projects or way.in_shape == way.out_shape):
                    found.append(way)
    return found


def program_of(network: Network, rng: np.random.Generator, extreme: bool) -> Program:
    """Weights up to what each layer's bounds allow; ``extreme``: nothing but the bound."""
    weights, neurons = [], []
    shared = {index for feeding in network.feeding if len(feeding) > 1 for index in feeding}
    for index, layer in enumerate(network.synaptic):
        rows, channels = layer.weight_shape
        maximum = input_maximum(network, layer)
        bias = rng.choice([-100, 0, 100], channels).astype(np.int32)
        reach = min(
            (CURRENT_LIMIT - 100) << layer.shift, EXACT_IN_FLOAT32 - 1, CURRENT_LIMIT * maximum
        )
        if index in shared:
            reach = reach // 2 - 100
        if isinstance(layer, Shortcut) and not layer.projects:
            gains = rng.choice([-reach, reach, 0, 1], (1, channels)).astype(np.int16)
            weights.append(IntegerWeights(gains, bias))
            continue
        weight, largest = np.zeros((rows, channels), dtype_of(layer)), largest_weight(layer)
        most = max(1, reach // maximum // largest)  # rows that may hold the largest weight
        for channel in range(channels):
            bound = largest if extreme else min(largest, max(1, reach // maximum // rows))
            chosen = rng.permutation(rows)[: most if bound == largest else reach // maximum]
            values = (
                rng.choice([-bound, bound], len(chosen))
                if extreme
                else rng.integers(-bound, bound + 1, len(chosen))
            )
            weight[chosen, channel] = values if reach >= maximum * bound else 0
        weights.append(IntegerWeights(weight, bias))
    for lif in network.lifs:
        theta = rng.integers(-50, 400, lif.in_shape[2])
        if extreme:
            edges = [MEMBRANE_MIN, MEMBRANE_MAX, MEMBRANE_MAX + 1, 0, 1, -1]
            theta = rng.choice(edges, lif.in_shape[2])
        theta = np.maximum(theta, 1) if lif.max_spikes > 1 else theta
        neurons.append(IntegerNeurons.plain(theta.astype(np.int32)))
    return Program(network, tuple(weights), tuple(neurons), 0.01)


def dtype_of(layer: Synaptic) -> Any:
    return np.int16 if layer.is_wide else np.int8


def largest_weight(layer: Synaptic) -> int:
    return int((1 << ((layer.weight_bits or 8) - 1)) - 1)


def within(weight: NDArray[np.int64], budget: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Weights whose magnitudes add up to ``budget`` a channel at most: exactly to it, if they can,
    and those of some rows become 0."""
    order = rng.permutation(len(weight))
    size = np.abs(weight[order])
    left = np.clip(budget - (size.cumsum(axis=0) - size), 0, None)
    cut = np.empty_like(weight)
    cut[order] = np.sign(weight[order]) * np.minimum(size, left)
    return cut


def free_program_of(network: Network, rng: np.random.Generator, extreme: bool) -> Program:
    """Numbers that only format 2 can say: sums beyond int16, resets and potentials of their own, a
    drive, counts as inputs; ``extreme``: the largest weights, all alike in half of the channels."""
    first, weights = network.synaptic[0], []
    gains = rng.choice([0, 1, 2, 5], rng.integers(1, 4))
    largest_count = int(rng.choice([1, 2, 255])) if rng.random() < 0.4 else None
    for layer in network.synaptic:
        rows, channels = layer.weight_shape
        maximum = input_maximum(network, layer, largest_count or LARGEST_PIXEL)
        maximum *= max(1, int(gains.max())) if layer is first else 1
        bias = rng.choice([-9000, -100, 0, 100, 9000], channels).astype(np.int32)
        if isinstance(layer, Shortcut) and not layer.projects:
            reach = CURRENT_LIMIT // maximum
            values = rng.choice([-reach, reach, 0, 1], (1, channels)).astype(np.int16)
            weights.append(IntegerWeights(values, bias))
            continue
        bound = largest_weight(layer)
        weight = rng.integers(-bound, bound + 1, (rows, channels))
        if extreme:
            alike = rng.choice([-bound, bound], (1, channels))
            weight = np.where(rng.random(channels) < 0.5, alike, np.sign(weight) * bound)
        weight = within(weight, (EXACT_IN_FLOAT32 - 1) // maximum, rng)
        weights.append(IntegerWeights(weight.astype(dtype_of(layer)), bias))
    neurons = tuple(free_neurons_of(lif, rng, extreme) for lif in network.lifs)
    steps = len(gains)
    drive = Drive(
        gain=gains.astype(np.int32),
        bias=rng.integers(-9000, 9000, (steps, first.out_channels)).astype(np.int32),
        padding=rng.choice([0, 1, 125, 255], (steps, first.in_shape[2]))
        .clip(0, largest_count or LARGEST_PIXEL)
        .astype(np.uint8)
        * rng.integers(0, 2, (steps, 1), np.uint8),
    )
    return Program(
        network,
        tuple(weights),
        neurons,
        0.01,
        drive if rng.random() < 0.8 else None,
        largest_count,
    )


def free_neurons_of(lif: Lif, rng: np.random.Generator, extreme: bool) -> IntegerNeurons:
    channels = lif.in_shape[2]

    def potentials(low: int = MEMBRANE_MIN, high: int = MEMBRANE_MAX) -> NDArray[np.int32]:
        edges = [MEMBRANE_MIN, MEMBRANE_MAX, MEMBRANE_MAX + 1, 0, 1, -1, 300]
        drawn = rng.choice(edges, channels) if extreme else rng.integers(-500, 3000, channels)
        return drawn.clip(low, high).astype(np.int32)

    lowest = 1 if lif.max_spikes > 1 else MEMBRANE_MIN
    numbers = potentials(lowest, MEMBRANE_MAX + 1), potentials(), potentials()
    minima = [MEMBRANE_MIN, -500, -1, 0] if rng.random() < 0.5 else [MEMBRANE_MIN]
    return IntegerNeurons(*numbers, rng.choice(minima, channels).astype(np.int32))


def any_program_of(network: Network, rng: np.random.Generator, extreme: bool) -> Program:
    """Of either format."""
    return (program_of if rng.random() < 0.4 else free_program_of)(network, rng, extreme)


def frames_of(
    rng: np.random.Generator, shape: tuple[int, ...], density: float, largest: int = LARGEST_PIXEL
) -> Frames:
    """Values up to ``largest`` in even rows and spikes of one value in odd ones, at the given
    density."""
    analog = rng.integers(1, largest + 1, shape, np.uint8)
    analog[1::2] = rng.integers(1, largest + 1)
    return np.where(rng.random(shape) < density, analog, 0).astype(np.uint8)


def same(one: Step, other: Step) -> bool:
    return all(
        np.array_equal(getattr(one, part), getattr(other, part))
        for part in ("logits", "active_pairs", "spikes")
    )


def engines(program: Program) -> list[Engine]:
    """Every engine there is, the definition first."""
    return [
        ReferenceEngine(program),
        OnnxEngine(program, step_graph(program).SerializeToString()),
        TorchEngine(program, "cpu"),
        EventEngine(program, threads=2),
    ]
