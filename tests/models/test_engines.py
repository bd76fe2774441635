"""Every engine gives the reference's bits, whatever the batch and whatever its neighbours' age."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikeserve.models.bundle import Bundle
from spikeserve.models.encoding import Encoding
from spikeserve.models.engines.contract import Engine, State, Step
from spikeserve.models.engines.fake import FakeEngine
from spikeserve.models.engines.onnx import OnnxEngine
from spikeserve.models.engines.reference import NumpyOperations, ReferenceEngine
from spikeserve.models.engines.selection import build_engine
from spikeserve.models.errors import EngineUnavailable
from spikeserve.models.inference import Row, advance
from spikeserve.models.layers import Conv, Layer, Lif, Linear
from spikeserve.models.network import Network
from spikeserve.training.export import step_graph
from tests.networks import Frames, any_program_of, engines, frames_of, layers, program_of, same
from tests.programs import IMAGE_SHAPE, TIMESTEPS, random_network, random_program

NETWORKS: dict[str, dict[str, Any]] = {
    "fire-once": {},
    "multi-spike soft reset": {"fire_once": False, "reset": "soft", "leak_q": 200},
    "no leak": {"leak_q": 256},
    "total leak": {"leak_q": 0, "fire_once": False},
    "sum pool": {"plan": ("8", "P", "16", "G")},
    "strides": {"plan": ("8/2", "16/3", "12")},
}


@pytest.mark.parametrize("name", list(NETWORKS))
def test_all_engines_agree(name: str) -> None:
    program = random_program(random_network(**NETWORKS[name]))
    images = np.random.default_rng(2).integers(0, 256, (5, *IMAGE_SHAPE), np.uint8)
    encoding = Encoding("hybrid", TIMESTEPS)
    candidates = engines(program)
    states = [engine.start(len(images)) for engine in candidates]
    for t in range(1, TIMESTEPS + 1):
        steps = [
            engine.step(encoding.frame(images, t), state)
            for engine, state in zip(candidates, states, strict=True)
        ]
        states = [step.state for step in steps]
        assert all(same(steps[0], step) for step in steps[1:]), t
        if t == 1:
            assert (steps[0].spikes > 0).all(), "a silent network proves nothing"


@pytest.mark.parametrize("index", range(4), ids=["reference", "onnx", "torch", "event"])
def test_mixed_batches_equal_solo_runs(index: int) -> None:
    """Rows join and leave at random, so every tick mixes ages; logits must not notice."""
    program = random_program(random_network())
    engine = engines(program)[index]
    encoding = Encoding("hybrid", TIMESTEPS)
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (24, *IMAGE_SHAPE), np.uint8)
    alone = [solo(engine, encoding, image) for image in images]

    live: list[tuple[int, int]] = []  # (image, timesteps done)
    state = engine.start(0)
    waiting = list(range(len(images)))
    while waiting or live:
        entering = [waiting.pop() for _ in range(min(len(waiting), int(rng.integers(0, 6))))]
        state = State.join([state, engine.start(len(entering))])
        live += [(image, 0) for image in entering]
        if not live:
            continue
        ages = np.array([age + 1 for _, age in live])
        frames = encoding.frames([images[image] for image, _ in live], list(ages))
        step = engine.step(frames, state)
        for row, (image, age) in enumerate(live):
            expected = alone[image][age]
            assert np.array_equal(step.logits[row], expected.logits[0])
            assert np.array_equal(step.active_pairs[row], expected.active_pairs[0])
        keep = [k for k in range(len(live)) if ages[k] < TIMESTEPS and rng.random() > 0.1]
        state = step.state.take(keep)
        live = [(live[k][0], int(ages[k])) for k in keep]


def solo(engine: Engine, encoding: Encoding, image: NDArray[np.uint8]) -> list[Step]:
    state, steps = engine.start(1), []
    for t in range(1, encoding.timesteps + 1):
        steps.append(engine.step(encoding.frame(image[None], t), state))
        state = steps[-1].state
    return steps


@pytest.mark.parametrize("index", range(4), ids=["reference", "onnx", "torch", "event"])
def test_a_step_leaves_its_input_state_alone(index: int) -> None:
    engine = engines(random_program(random_network()))[index]
    frame = np.full((2, *IMAGE_SHAPE), 200, np.uint8)
    state = engine.start(2)
    before = [array.copy() for array in state.arrays]
    first = engine.step(frame, state)
    again = engine.step(frame, state)
    assert same(first, again)
    assert all(map(np.array_equal, state.arrays, before))


@settings(max_examples=30, deadline=None)
@given(layers(), st.sampled_from([0.02, 0.2, 1.0]), st.booleans(), st.integers(0, 2**32 - 1))
def test_all_engines_agree_on_any_network(
    sequence: tuple[Layer, ...], density: float, extreme: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    program = any_program_of(Network(sequence), rng, extreme)
    candidates = engines(program)
    states = [engine.start(3) for engine in candidates]
    for _ in range(3):
        frames = frames_of(rng, (3, *program.network.input_shape), density, program.largest_input)
        steps = [engine.step(frames, s) for engine, s in zip(candidates, states, strict=True)]
        for engine, step in zip(candidates, steps, strict=True):
            assert same(steps[0], step), engine.name
        states = [State.join([step.state.take([2]), step.state.take([0, 1])]) for step in steps]


def test_grey_images_with_strides_that_differ() -> None:
    """torch takes a way of its own there, and a wrong one if it is let."""
    conv = Conv("conv", (1, 1, 1), 1, kernel=4, stride=(1, 2), padding=2, shift=3)
    lif = Lif("lif", conv.out_shape)
    network = Network((conv, lif, Linear("classifier", lif.out_shape, 2)))
    program = program_of(network, np.random.default_rng(1), extreme=False)
    frames = np.full((3, 1, 1, 1), 93, np.uint8)
    steps = [engine.step(frames, engine.start(3)) for engine in engines(program)]
    assert all(same(steps[0], step) for step in steps[1:])


@pytest.mark.parametrize(
    "layer",
    [
        Conv("square", (5, 6, 2), 3, kernel=3, stride=2, padding=1),
        Conv("rectangular", (5, 6, 2), 3, kernel=(1, 4), stride=(2, 3), padding=(0, 2)),
        Conv("grouped", (5, 6, 4), 6, kernel=(2, 3), groups=2),
        Conv("depthwise", (5, 6, 3), 3, groups=3),
        Linear("linear", (5, 6, 2), 3),
    ],
    ids=lambda layer: layer.name,
)
def test_the_reference_convolves_as_the_definition_says(layer: Conv | Linear) -> None:
    rng = np.random.default_rng(4)
    x = rng.integers(0, 4, (1, *layer.in_shape)).astype(np.int32)
    weight = rng.integers(-9, 10, layer.weight_shape).astype(np.int8)
    (kernel_height, kernel_width), (down, across) = layer.window.kernel, layer.window.stride
    top, side = layer.window.padding
    height, width, c_in = layer.in_shape
    kernel = weight.reshape(kernel_height, kernel_width, c_in // layer.groups, -1)
    expected = np.zeros((1, *layer.out_shape), np.int64)
    for i, j, c_out in np.ndindex(*layer.out_shape):
        group = c_out // layer.fan_out
        for di, dj, c in np.ndindex(kernel_height, kernel_width, c_in // layer.groups):
            h, w = down * i + di - top, across * j + dj - side
            if 0 <= h < height and 0 <= w < width:
                value = int(x[0, h, w, group * (c_in // layer.groups) + c])
                expected[0, i, j, c_out] += value * int(kernel[di, dj, c, c_out])
    assert np.array_equal(layer.sums(NumpyOperations(), x, weight), expected)


@pytest.mark.parametrize("shape", [(2, 15, 16, 3), (3, *IMAGE_SHAPE), (2, 16, 16)])
def test_frames_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    program = random_program(random_network())
    for engine in (*engines(program), FakeEngine(program.network)):
        with pytest.raises(ValueError, match="do not fit"):
            engine.step(np.zeros(shape, np.uint8), engine.start(2))
        with pytest.raises(TypeError, match="uint8"):
            engine.step(np.zeros((2, *IMAGE_SHAPE), np.float32), engine.start(2))


def test_an_answer_for_another_number_of_rows_changes_no_row(bundle: Bundle) -> None:
    engine, manifest = ReferenceEngine(bundle.program), bundle.manifest
    whole = engine.step

    def short(frames: Frames, state: State) -> Step:
        step = whole(frames, state)
        return replace(step, spikes=step.spikes[:-1])

    engine.step = short  # type: ignore[method-assign]
    image = np.zeros(manifest.network.input_shape, np.uint8)
    rows = [Row(image, manifest.policy()) for _ in range(2)]
    with pytest.raises(ValueError, match="another number of rows"):
        advance(engine, manifest.encoding, manifest.readout, rows, engine.start(2))
    assert [row.t for row in rows] == [0, 0]


def test_a_graph_of_other_weights_is_refused_at_load(bundle: Bundle) -> None:
    other = random_program(bundle.manifest.network, seed=9)
    swapped = Bundle(bundle.manifest, bundle.program, step_graph(other).SerializeToString())
    with pytest.raises(EngineUnavailable, match="disagrees with the reference"):
        build_engine(swapped, "onnx")


def test_garbage_graph_is_refused(bundle: Bundle) -> None:
    with pytest.raises(EngineUnavailable, match="cannot load"):
        OnnxEngine(bundle.program, b"not a graph")


def test_graph_of_another_shape_is_refused(bundle: Bundle) -> None:
    other = random_program(random_network(shape=(12, 12, 3)))
    with pytest.raises(EngineUnavailable, match="step graph takes"):
        OnnxEngine(bundle.program, step_graph(other).SerializeToString())
