"""The event engine against its slow twin: any layer, any density, any extreme."""

from __future__ import annotations

import dataclasses
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeserve.models.engines.contract import State
from spikeserve.models.engines.cores import usable_cores
from spikeserve.models.engines.event import EventEngine
from spikeserve.models.engines.reference import ReferenceEngine
from spikeserve.models.errors import EngineUnavailable
from spikeserve.models.layers import Conv, Layer, Lif, Linear, Pool
from spikeserve.models.network import Network
from spikeserve.models.program import Drive, IntegerNeurons, IntegerWeights, Program
from tests.networks import any_program_of, frames_of, layers, program_of, same
from tests.programs import IMAGE_SHAPE, random_network, random_program

STEPS = 3


@settings(max_examples=150, deadline=None)
@given(
    layers(),
    st.sampled_from([0.0, 0.02, 0.1, 0.5, 0.9, 1.0]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**32 - 1),
    st.integers(1, 3),
)
def test_any_network_gives_the_references_bits(
    sequence: tuple[Layer, ...],
    density: float,
    extreme: bool,
    repeats: bool,
    seed: int,
    threads: int,
) -> None:
    """Where frames may repeat, some do, and rows change places meanwhile."""
    rng = np.random.default_rng(seed)
    program = any_program_of(Network(sequence), rng, extreme)
    engine, twin = EventEngine(program, threads, repeats=repeats), ReferenceEngine(program)
    state, expected_state = engine.start(4), twin.start(4)
    frames = np.zeros((4, *program.network.input_shape), np.uint8)
    for _ in range(STEPS + 2 * repeats):
        fresh = frames_of(rng, frames.shape, density, program.largest_input)
        again = repeats & (rng.random((4, 1, 1, 1)) < 0.6)
        frames = np.where(again, frames, fresh)
        step, expected = engine.step(frames, state), twin.step(frames, expected_state)
        assert same(step, expected)
        order = rng.integers(0, 4, 4)
        state, expected_state = step.state.take(order), expected.state.take(order)
        frames = frames[order]


@pytest.mark.verify
@settings(max_examples=5000, deadline=None)
@given(layers(), st.floats(0, 1), st.booleans(), st.booleans(), st.integers(0, 2**32 - 1))
def test_thousands_of_networks(
    sequence: tuple[Layer, ...], density: float, extreme: bool, repeats: bool, seed: int
) -> None:
    test_any_network_gives_the_references_bits.hypothesis.inner_test(  # type: ignore[attr-defined]
        sequence, density, extreme, repeats, seed, 2
    )


def test_a_frame_that_repeats_is_summed_once_and_a_new_one_anew() -> None:
    """What a row keeps is bounded by its frame, its gain and its padding; the twin knows nothing
    of it. A piece that a state still names is never written again."""
    program = random_program(random_network())
    rng = np.random.default_rng(8)
    first = program.network.synaptic[0]
    drive = Drive(
        gain=np.array([1, 2, 2, 1], np.int32),
        bias=np.zeros((4, first.out_channels), np.int32),
        padding=np.array([[0] * 3, [0] * 3, [9] * 3, [9] * 3], np.uint8),
    )
    program = dataclasses.replace(program, drive=drive)
    engine, twin = EventEngine(program, 2, repeats=True), ReferenceEngine(program)
    one, other = (rng.integers(0, 256, (3, *IMAGE_SHAPE), np.uint8) for _ in range(2))
    state, expected_state = engine.start(3), twin.start(3)
    kept = []
    for frames in (one, one, one, one, one, other, one):
        step, expected = engine.step(frames, state), twin.step(frames, expected_state)
        assert same(step, expected)
        branch = engine.step(other, state), twin.step(other, expected_state)
        assert same(*branch)
        state, expected_state = step.state, expected.state
        kept.append([memory.kept for memory in state.arrays[0]])
    same_as_before = [before == after for before, after in pairwise(kept)]
    assert same_as_before == [False, False, False, True, False, False]


def test_without_repeats_rows_keep_nothing() -> None:
    program = random_program(random_network())
    engine = EventEngine(program, 1)
    frames = np.ones((2, *IMAGE_SHAPE), np.uint8)
    state = engine.step(frames, engine.start(2)).state
    assert [memory.kept for memory in state.arrays[0]] == [None, None]


@pytest.mark.parametrize("mean", [0.0, 0.1, 0.24, 0.3, 1.0, 4.0])
@pytest.mark.parametrize("weight_bits", [8, 16])
def test_counts_are_the_same_bits_as_events_and_as_values(mean: float, weight_bits: int) -> None:
    """Few counts become an event for each spike, many a dense sum, and the largest weight may meet
    all of them."""
    conv = Conv("conv", (6, 6, 5), 70, weight_bits=weight_bits)
    lif = Lif("lif", conv.out_shape, reset="soft", fire_once=False, max_spikes=255)
    again = Conv("again", lif.out_shape, 3, weight_bits=weight_bits, stride=2)
    last = Lif("last", again.out_shape, leak_q=128, leak_rounding="nearest")
    network = Network((conv, lif, again, last, Linear("out", last.out_shape, 2)))
    rng = np.random.default_rng(9)
    most = (127, (1 << (weight_bits - 1)) - 1)
    weights: list[IntegerWeights] = []
    for layer in network.synaptic:
        bound = most[layer.is_wide] if layer is conv else 100
        drawn = rng.choice([-bound, bound], layer.weight_shape)
        drawn[:, 0] = bound
        kind: Any = np.int16 if layer.is_wide else np.int8
        weights.append(IntegerWeights(drawn.astype(kind), np.zeros(layer.out_channels, np.int32)))
    neurons = tuple(
        IntegerNeurons.plain(np.full(each.in_shape[2], 300, np.int32)) for each in network.lifs
    )
    program = Program(network, tuple(weights), neurons, 1.0, largest_count=7)
    engine, twin = EventEngine(program, 1), ReferenceEngine(program)
    state, expected_state = engine.start(2), twin.start(2)
    for _ in range(STEPS):
        frames = rng.poisson(mean, (2, *network.input_shape)).clip(0, 7).astype(np.uint8)
        step, expected = engine.step(frames, state), twin.step(frames, expected_state)
        assert same(step, expected)
        state, expected_state = step.state, expected.state


def test_inputs_too_few_to_become_events_count_as_well() -> None:
    conv = Conv("conv", (1, 1, 2), 3, kernel=1, padding=0)
    network = Network((conv, Lif("lif", (1, 1, 3)), Linear("out", (1, 1, 3), 2)))
    program = dataclasses.replace(random_program(network), largest_count=9)
    engine, twin = EventEngine(program, 1), ReferenceEngine(program)
    frames = np.array([[[[3, 3]]], [[[0, 9]]], [[[0, 0]]]], np.uint8)
    step = engine.step(frames, engine.start(3))
    assert step.active_pairs[:, 0].tolist() == [6, 9, 0]
    assert same(step, twin.step(frames, twin.start(3)))


def test_thread_count_does_not_change_a_bit() -> None:
    program = random_program(random_network(plan=("70", "130/2", "P", "64")))
    frames = frames_of(np.random.default_rng(1), (33, *IMAGE_SHAPE), 0.7)
    alone = EventEngine(program, 1)
    expected = alone.step(frames, alone.start(33))
    for threads in (2, 3, 8):
        engine = EventEngine(program, threads)
        step = engine.step(frames, engine.start(33))
        assert same(step, expected)
        again = engine.step(frames, step.state)
        assert same(again, alone.step(frames, expected.state))


def test_several_callers_may_share_an_engine() -> None:
    program = random_program(random_network())
    engine, twin = EventEngine(program, 2), ReferenceEngine(program)
    frames = frames_of(np.random.default_rng(2), (8, *IMAGE_SHAPE), 0.9)
    expected = twin.step(frames, twin.start(8))
    agreed: list[bool] = []

    def call() -> None:
        for _ in range(20):
            agreed.append(same(engine.step(frames, engine.start(8)), expected))

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(agreed) == 80
    assert all(agreed)


@pytest.mark.parametrize("view", ["read-only", "strided"])
def test_any_view_of_frames_will_do(view: str) -> None:
    program = random_program(random_network())
    engine = EventEngine(program, 1)
    frames = frames_of(np.random.default_rng(3), (4, *IMAGE_SHAPE), 0.5)
    expected = engine.step(frames, engine.start(4))
    if view == "read-only":
        frames.flags.writeable = False
    else:
        frames = np.repeat(frames, 2, axis=2)[:, :, ::2]
    assert same(engine.step(frames, engine.start(4)), expected)


def test_another_engines_state_is_refused_before_the_kernel() -> None:
    engine = EventEngine(random_program(random_network()), 1)
    other = EventEngine(random_program(random_network()), 1)
    frames = np.zeros((2, *IMAGE_SHAPE), np.uint8)
    foreign = other.step(frames, other.start(2)).state
    made_up = State((np.array([None, 0xDEAD], object),))
    for state in (foreign, made_up, engine.start(1), State.join([engine.start(1), foreign])):
        with pytest.raises(ValueError, match="do not fit"):
            engine.step(frames, state)


def test_states_keep_their_memory_while_anybody_holds_them() -> None:
    """Memory is used again; a state that branches must never see another's."""
    engine = EventEngine(random_program(random_network()), 1)
    twin = ReferenceEngine(random_program(random_network()))
    rng = np.random.default_rng(3)
    frames = rng.integers(0, 256, (6, *IMAGE_SHAPE), np.uint8)
    first, expected = engine.step(frames, engine.start(6)), twin.step(frames, twin.start(6))
    for order in ([5, 0], [1], [2, 2, 3], [4, 0, 1, 5]):
        for _ in range(3):  # steps whose states are dropped at once
            engine.step(frames, first.state)
        got = engine.step(frames[order], first.state.take(order))
        want = twin.step(frames[order], expected.state.take(order))
        assert np.array_equal(got.logits, want.logits)
        assert np.array_equal(got.spikes, want.spikes)


def test_wrong_types_are_refused_before_the_kernel() -> None:
    engine = EventEngine(random_program(random_network()), 1)
    with pytest.raises(TypeError):
        engine.step(np.zeros((2, *IMAGE_SHAPE), np.float32), engine.start(2))


def test_inputs_beyond_int16_are_refused() -> None:
    shape = (256, 256, 1)
    pools = Pool("pool", shape, kernel=64, mode="sum"), Pool("all", (4, 4, 1), 4, mode="sum")
    network = Network(
        (Conv("conv", shape, 1, shift=8), Lif("lif", shape), *pools, Linear("out", (1, 1, 1), 2))
    )
    weights = tuple(
        IntegerWeights(
            np.zeros(layer.weight_shape, np.int8), np.zeros(layer.out_channels, np.int32)
        )
        for layer in network.synaptic
    )
    program = Program(network, weights, (IntegerNeurons.plain(np.ones(1, np.int32)),), 1.0)
    with pytest.raises(EngineUnavailable, match="int16"):
        EventEngine(program)


def test_a_quota_counts_as_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(64)), raising=False)
    for text, cores in (("max 100000", 64), ("150000 100000", 2), ("10000 100000", 1)):
        monkeypatch.setattr(Path, "read_text", lambda _path, text=text: text)
        assert usable_cores() == cores


def test_a_program_that_padding_blows_up_is_refused() -> None:
    conv = Conv("conv", (600, 600, 1), 1, shift=8)
    network = Network((conv, Lif("lif", conv.out_shape), Linear("out", conv.out_shape, 2)))
    with pytest.raises(EngineUnavailable, match="groups of 64"):
        EventEngine(program_of(network, np.random.default_rng(5), False))


def test_a_thread_that_cannot_start_leaves_no_helper_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would write to memory that other rows have got meanwhile."""
    engine = EventEngine(random_program(random_network()), 4)
    twin = ReferenceEngine(random_program(random_network()))
    frames = np.random.default_rng(6).integers(0, 256, (8, *IMAGE_SHAPE), np.uint8)
    expected = twin.step(frames, twin.start(8))
    begun = []

    def start(thread: threading.Thread) -> None:
        begun.append(thread)
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="new thread"):
            engine.step(frames, engine.start(8))
    assert begun
    for _ in range(3):
        assert np.array_equal(engine.step(frames, engine.start(8)).logits, expected.logits)
