"""Active pairs, which energies are computed from, are exact, in every engine and for every row."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikeserve.models.engines.reference import NumpyOperations, ReferenceEngine
from spikeserve.models.layers import Conv, Layer, Lif, Linear, Synaptic
from spikeserve.models.layers.lif import Memory
from spikeserve.models.network import Network
from spikeserve.models.program import Program
from spikeserve.models.timestep import timestep
from tests.networks import engines, frames_of, layers, program_of

STEPS = 3
ROWS = 3
Ints = NDArray[np.int32]


class Unfolding(NumpyOperations):
    """The reference, but for active pairs: counted window by window."""

    def active_pairs(self, layer: Synaptic, x: Ints, counts: bool) -> NDArray[np.int64]:
        return np.array([unfolded(layer, row if counts else np.sign(row)) for row in x])


def unfolded(layer: Synaptic, x: Ints) -> int:
    """What the inputs of every window of one row ``[H, W, C]`` add up to, window by window."""
    window = layer.window
    (height, width), (down, across), (top, side) = window.kernel, window.stride, window.padding
    padded = np.pad(x, ((top, top), (side, side), (0, 0)))
    rows, columns, _ = layer.out_shape
    return sum(
        int(padded[y : y + height, x : x + width].sum(dtype=np.int64))
        for y in range(0, rows * down, down)
        for x in range(0, columns * across, across)
    )


def counted(program: Program, frames: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Active pairs ``[t, L]`` of one row's frames ``[t, H, W, C]``, by brute force."""
    shapes = [(1, *lif.in_shape) for lif in program.network.lifs]
    memories = [Memory(np.zeros(shape, np.int32), np.zeros(shape, np.bool_)) for shape in shapes]
    pairs = []
    for frame in frames:
        step = timestep(program, Unfolding(), frame[None].astype(np.int32), memories)
        memories = step.memories
        pairs.append(np.concatenate(step.active_pairs))
    return np.array(pairs)


@settings(max_examples=25, deadline=None)
@given(layers(), st.sampled_from([0.02, 0.1, 0.5, 1.0]), st.integers(0, 2**32 - 1))
def test_every_engine_counts_what_an_unfold_counts(
    sequence: tuple[Layer, ...], density: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    program = program_of(Network(sequence), rng, extreme=False)
    frames = np.stack(
        [frames_of(rng, (ROWS, *program.network.input_shape), density) for _ in range(STEPS)]
    )
    expected = np.stack([counted(program, frames[:, row]) for row in range(ROWS)], axis=1)
    for engine in engines(program):
        state, found = engine.start(ROWS), []
        for frame in frames:
            step = engine.step(frame, state)
            state = step.state
            found.append(step.active_pairs)
        assert np.array_equal(np.stack(found), expected), engine.name


@settings(max_examples=100, deadline=None)
@given(layers())
def test_connections_are_the_pairs_of_a_full_frame(sequence: tuple[Layer, ...]) -> None:
    for layer in Network(sequence).synaptic:
        full = np.ones(layer.in_shape, np.int32)
        assert layer.connections == unfolded(layer, full)
        assert layer.connections == int(layer.coverage.sum()) * layer.in_shape[2]


def test_a_row_counts_for_itself_whoever_stands_beside_it() -> None:
    rng = np.random.default_rng(1)
    conv = Conv("conv", (6, 5, 2), 8, kernel=3, stride=2, padding=1, shift=5)
    lif = Lif("lif", conv.out_shape)
    network = Network((conv, lif, Linear("classifier", lif.out_shape, 3)))
    engine = ReferenceEngine(program_of(network, rng, extreme=False))
    frames = np.stack([np.zeros((6, 5, 2), np.uint8), np.full((6, 5, 2), 9, np.uint8)])
    together = engine.step(frames, engine.start(2)).active_pairs
    assert together[0, 0] == 0
    assert together[1, 0] == conv.connections
    alone = [engine.step(frames[k : k + 1], engine.start(1)).active_pairs[0] for k in (0, 1)]
    assert np.array_equal(together, np.stack(alone))
