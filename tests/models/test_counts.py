"""Counts of spikes and events: what they are, and that they stay exact however many there are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spikeserve.models.engines.onnx import OnnxEngine
from spikeserve.models.engines.reference import NumpyOperations
from spikeserve.models.engines.torch import TorchEngine
from spikeserve.models.errors import InvalidNetwork, InvalidProgram
from spikeserve.models.layers import Conv, Layer, Lif, Linear, Pool, Shortcut
from spikeserve.models.network import Network
from spikeserve.models.program import (
    EXACT_IN_FLOAT32,
    Drive,
    IntegerNeurons,
    IntegerWeights,
    Program,
)
from spikeserve.training.export import step_graph
from tests.networks import dtype_of, engines, free_program_of, same


def silent(*layers: Layer, theta: int = 1, largest_count: int | None = None) -> Program:
    """A program without weights."""
    network = Network(layers)
    return Program(
        network,
        tuple(
            IntegerWeights(
                np.zeros(layer.weight_shape, dtype_of(layer)),
                np.zeros(layer.out_channels, np.int32),
            )
            for layer in network.synaptic
        ),
        tuple(
            IntegerNeurons.plain(np.full(lif.in_shape[2], theta, np.int32)) for lif in network.lifs
        ),
        1.0,
        largest_count=largest_count,
    )


def several(name: str, conv: Conv, max_spikes: int = 255) -> Lif:
    return Lif(name, conv.out_shape, 256, "soft", fire_once=False, max_spikes=max_spikes)


def small(max_spikes: int = 4) -> tuple[Conv, Lif, Pool, Linear]:
    conv = Conv("conv", (4, 4, 2), 3)
    pool = Pool("pool", conv.out_shape, mode="sum")
    return conv, several("lif", conv, max_spikes), pool, Linear("out", pool.out_shape, 2)


def test_spikes_of_a_timestep_are_counted_one_by_one() -> None:
    """A bias of three thresholds and a bit: three spikes of each of 48 neurons, 48 pairs each."""
    program = silent(*small(), theta=10)
    first, last = program.weights
    program = replace(
        program, weights=(replace(first, bias=np.full(3, 35, np.int32)), last), largest_count=9
    )
    frames = np.zeros((1, 4, 4, 2), np.uint8)
    frames[0, 0, 0, 0] = 7
    for engine in engines(program):
        step = engine.step(frames, engine.start(1))
        assert step.spikes.tolist() == [[3 * 48]], engine.name
        assert step.active_pairs.tolist() == [[7 * 4, 3 * 48]], engine.name


def test_a_layer_has_as_many_pairs_as_its_inputs_may_count() -> None:
    network = Network(small())
    conv, classifier = network.synaptic
    assert network.possible_pairs(None) == (conv.connections, classifier.connections * 4 * 4)
    assert network.possible_pairs(9)[0] == conv.connections * 9
    once = Network(small(max_spikes=1))
    assert once.possible_pairs(None) == (conv.connections, classifier.connections)


def test_pairs_of_maps_beyond_what_float32_counts_are_exact() -> None:
    conv = Conv("conv", (64, 64, 32), 1, kernel=15, padding=7)
    program = silent(conv, Lif("lif", conv.out_shape), Linear("out", conv.out_shape, 2))
    assert conv.connections > EXACT_IN_FLOAT32
    frames = np.full((1, *conv.in_shape), 255, np.uint8)
    frames[0, 3, 3, 0] = 0
    expected = conv.connections - int(conv.coverage[3, 3])
    assert expected % 2, "float32 would hold an even number"
    (pairs,) = NumpyOperations().active_pairs(conv, frames.astype(np.int32), counts=False)
    assert pairs == expected
    graph = step_graph(program).SerializeToString()
    for engine in (OnnxEngine(program, graph, 1), TorchEngine(program, "cpu")):
        assert engine.step(frames, engine.start(1)).active_pairs[0, 0] == expected, engine.name


def test_events_and_spikes_beyond_what_float32_counts_are_exact() -> None:
    """An odd number of each, of which float32 would make an even one."""
    conv = Conv("conv", (41, 41, 41), 41)
    program = silent(
        conv, several("lif", conv), Linear("out", conv.out_shape, 2), largest_count=255
    )
    assert EXACT_IN_FLOAT32 < 41**3 * 255
    first, last = program.weights
    program = replace(program, weights=(replace(first, bias=np.full(41, 255, np.int32)), last))
    frames = np.full((1, *conv.in_shape), 255, np.uint8)
    frames[0, 0, 0, 0] = 254
    steps = [engine.step(frames, engine.start(1)) for engine in engines(program)]
    assert all(same(steps[0], step) for step in steps[1:])
    assert steps[0].spikes[0, 0] == 41**3 * 255
    assert steps[0].active_pairs[0, 0] == conv.connections * 255 - conv.coverage[0, 0]


def test_graphs_that_need_no_large_counts_have_none() -> None:
    graph = step_graph(silent(*small()))
    casts = [node for node in graph.graph.node if node.op_type == "Cast" and "Sum" in node.input[0]]
    assert not casts


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("mode", ["max", "sum"])
def test_overlapping_pools_of_counts_are_the_same_everywhere(
    mode: str, stride: int, extreme: bool
) -> None:
    conv = Conv("conv", (7, 6, 3), 5, shift=2, weight_bits=12)
    lif = several("lif", conv)
    pool = Pool("pool", lif.out_shape, 3, mode, stride, 1)  # type: ignore[arg-type]
    again = Pool("again", pool.out_shape, 2, mode, 1)  # type: ignore[arg-type]
    network = Network((conv, lif, pool, again, Linear("out", again.out_shape, 4, weight_bits=16)))
    rng = np.random.default_rng(stride)
    for _ in range(5):
        program = free_program_of(network, rng, extreme)
        frames = rng.integers(0, program.largest_input + 1, (3, 7, 6, 3)).astype(np.uint8)
        candidates = engines(program)
        states = [engine.start(3) for engine in candidates]
        for _ in range(3):
            pairs = list(zip(candidates, states, strict=True))
            steps = [engine.step(frames, state) for engine, state in pairs]
            states = [step.state for step in steps]
            assert all(same(steps[0], step) for step in steps[1:])


def with_source(max_spikes: int, **fields: object) -> Network:
    conv = Conv("conv", (4, 4, 2), 2)
    lif = several("lif", conv, max_spikes)
    onto = Conv("onto", lif.out_shape, 2)
    way = Shortcut("way", "lif", lif.out_shape, 2, **fields)  # type: ignore[arg-type]
    neurons = Lif("last", onto.out_shape)
    return Network((conv, lif, onto, way, neurons, Linear("out", onto.out_shape, 2)))


def test_layers_that_engines_could_read_differently_are_refused() -> None:
    assert with_source(1, projects=False)
    with pytest.raises(InvalidNetwork, match="'lif' puts out counts of spikes"):
        with_source(2)
    with pytest.raises(InvalidNetwork, match="weight_bits: a shortcut that does not project"):
        with_source(1, projects=False, weight_bits=8)
    conv = Conv("conv", (4, 4, 2), 2)
    with pytest.raises(InvalidNetwork, match="max_spikes"):
        Lif("lif", conv.out_shape, reset="hard", fire_once=False, max_spikes=2)


def test_numbers_that_engines_could_read_differently_are_refused() -> None:
    program = silent(*small(), largest_count=9)
    (one,) = program.neurons
    zeros = np.zeros_like(one.threshold)
    drive = Drive(np.ones(1, np.int32), np.zeros((1, 3), np.int32), np.full((1, 2), 9, np.uint8))
    assert replace(program, drive=drive)
    with pytest.raises(InvalidProgram, match="padding must not exceed largest_count"):
        replace(program, drive=replace(drive, padding=drive.padding + np.uint8(1)))
    with pytest.raises(InvalidProgram, match="thresholds must be positive"):
        replace(program, neurons=(replace(one, threshold=zeros),))
    with pytest.raises(InvalidProgram, match="minimum must not be positive"):
        replace(program, neurons=(replace(one, minimum=zeros + 1),))
    for count in (0, 256):
        with pytest.raises(InvalidProgram, match="largest_count"):
            replace(program, largest_count=count)
    narrow = silent(Conv("conv", (4, 4, 2), 3, weight_bits=3), *small()[1:])
    first, *others = narrow.weights
    assert replace(narrow, weights=(replace(first, weight=first.weight - np.int8(3)), *others))
    with pytest.raises(InvalidProgram, match="beyond 3 bits"):
        replace(narrow, weights=(replace(first, weight=first.weight - np.int8(4)), *others))


def test_counts_that_pools_make_too_large_are_refused() -> None:
    conv = Conv("conv", (64, 64, 1), 1)
    lif = several("lif", conv)
    one = Pool("one", lif.out_shape, 64, "sum")
    assert silent(conv, lif, one, Linear("out", one.out_shape, 2))
    wide = Pool("wide", lif.out_shape, 32, "sum", 1)
    over = Pool("over", wide.out_shape, 33, "sum")
    with pytest.raises(InvalidProgram, match="inputs beyond 2"):
        silent(conv, lif, wide, over, Linear("out", over.out_shape, 2))
