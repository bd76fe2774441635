"""Active pairs, which energies are computed from, are exact, in every engine and for every row."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from spikeserve.models.neurons import lif_step

from spikeserve.models.engines.reference import (
    ReferenceEngine,
    pooled,
    shortcut_current,
    synaptic_current,
)
from spikeserve.models.layers import Conv, Layer, Lif, Linear, Pool, Shortcut, Synaptic
from spikeserve.models.network import Network
from spikeserve.models.program import Program
from tests.networks import engines, frames_of, layers, program_of

STEPS = 3
ROWS = 3
Ints = NDArray[np.int32]


def unfolded(layer: Synaptic, x: Ints) -> int:
    """Non-zero inputs of every window of one row ``[H, W, C]``, window by window."""
    if isinstance(layer, Linear):
        return int((x != 0).sum())
    if isinstance(layer, Shortcut):
        height, width, _ = layer.out_shape
        return int((x[: height * layer.pool, : width * layer.pool] != 0).sum())
    margin = layer.padding
    padded = np.pad(x, ((margin, margin), (margin, margin), (0, 0)))
    height, width, _ = layer.out_shape
    return sum(
        int((padded[top : top + layer.kernel, left : left + layer.kernel] != 0).sum())
        for top in range(0, height * layer.stride, layer.stride)
        for left in range(0, width * layer.stride, layer.stride)
    )


def counted(program: Program, frames: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Active pairs ``[t, L]`` of one row's frames ``[t, H, W, C]``, by brute force."""
    membranes = [np.zeros((1, *lif.in_shape), np.int32) for lif in program.network.lifs]
    fired = [np.zeros((1, *lif.in_shape), np.bool_) for lif in program.network.lifs]
    result = []
    for frame in frames:
        x: Ints = frame[None].astype(np.int32)
        synapses, k, pairs = iter(program.synapses), 0, []
        outputs: dict[str, Ints] = {}
        for layer in program.network.layers:
            match layer:
                case Conv() | Linear():
                    pairs.append(unfolded(layer, x[0]))
                    x = synaptic_current(layer, next(synapses), x)
                case Shortcut():
                    pairs.append(unfolded(layer, outputs[layer.source][0]))
                    x = x + shortcut_current(layer, next(synapses), outputs[layer.source])
                case Lif():
                    spikes, membranes[k], fired[k] = lif_step(
                        layer, membranes[k], fired[k], x, program.thresholds[k]
                    )
                    x, k = spikes.astype(np.int32), k + 1
                case Pool():
                    x = pooled(layer, x)
            outputs[layer.name] = x
        result.append(pairs)
    return np.array(result)


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
