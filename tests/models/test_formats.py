"""Programs of format 2: what makes them so, bundles of them, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spikeserve.models.bundle import LATER, load_bundle, save_bundle
from spikeserve.models.encoding import MAX_TIMESTEPS
from spikeserve.models.engines.reference import ReferenceEngine
from spikeserve.models.engines.selection import build_engine
from spikeserve.models.engines.torch import TorchEngine
from spikeserve.models.errors import BundleError, InvalidProgram
from spikeserve.models.layers import Conv, Lif, Linear, Shortcut
from spikeserve.models.network import Network
from spikeserve.models.program import Drive, IntegerNeurons, IntegerWeights, Program
from spikeserve.training.export import step_graph
from tests.networks import engines, free_program_of, same
from tests.programs import IMAGE_SHAPE, random_network, random_program, tiny_manifest

Change = Callable[[Program], Program]


def plain_drive(program: Program) -> Drive:
    channels = program.network.synaptic[0].out_channels
    return Drive(
        np.ones(1, np.int32), np.zeros((1, channels), np.int32), np.zeros((1, 3), np.uint8)
    )


def with_neurons(program: Program, **numbers: int) -> Program:
    """One number for all channels of the first neurons."""
    first, *others = program.neurons
    arrays = {name: np.full_like(first.threshold, value) for name, value in numbers.items()}
    return replace(program, neurons=(replace(first, **arrays), *others))


def with_weights(program: Program, value: int) -> Program:
    *others, last = program.weights
    full = IntegerWeights(np.full_like(last.weight, value), last.bias)
    return replace(program, weights=(*others, full))


def with_lifs(program: Program, **fields: object) -> Program:
    return replace(
        program,
        network=Network(
            tuple(
                replace(layer, **fields) if isinstance(layer, Lif) else layer  # type: ignore[arg-type]
                for layer in program.network.layers
            )
        ),
    )


def with_wide_weights(program: Program) -> Program:
    """The classifier's, of 16 bits."""
    *layers, out = program.network.layers
    assert isinstance(out, Linear)
    *others, last = program.weights
    wide = IntegerWeights(last.weight.astype(np.int16) * np.int16(200), last.bias)
    network = Network((*layers, replace(out, weight_bits=16)))
    return replace(program, network=network, weights=(*others, wide))


CHANGES: dict[str, Change] = {
    "drive": lambda program: replace(program, drive=plain_drive(program)),
    "reset_by": lambda program: with_neurons(program, reset_by=7),
    "initial": lambda program: with_neurons(program, initial=7),
    "sums beyond int16": lambda program: with_weights(program, 127),
    "minimum": lambda program: with_neurons(program, minimum=-7),
    "fine leak": lambda program: with_lifs(program, leak_q=51_000, leak_bits=16),
    "leak to the nearest": lambda program: with_lifs(program, leak_q=200, leak_rounding="nearest"),
    "several spikes": lambda program: with_lifs(
        program, reset="soft", fire_once=False, max_spikes=3
    ),
    "wide weights": with_wide_weights,
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_bundle_says_what_older_releases_cannot_run(name: str, tmp_path: Path) -> None:
    plain = random_program(random_network())
    program = CHANGES[name](plain)
    assert (plain.format, program.format) == (1, 2)
    save_bundle(tmp_path, tiny_manifest(program), program, step_graph(program).SerializeToString())
    bundle = load_bundle(tmp_path)
    assert bundle.manifest.schema_version == 2
    images = np.random.default_rng(0).integers(0, 256, (2, *IMAGE_SHAPE), np.uint8)
    twin = ReferenceEngine(program)
    for engine in (build_engine(bundle, "event", 1), build_engine(bundle, "onnx", 1)):
        state, expected_state = engine.start(2), twin.start(2)
        for _ in range(3):
            step, expected = engine.step(images, state), twin.step(images, expected_state)
            state, expected_state = step.state, expected.state
            assert same(step, expected)
    document = json.loads((tmp_path / "manifest.json").read_text()) | {"schema_version": 1}
    (tmp_path / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match="format 2"):
        load_bundle(tmp_path)


def test_a_plain_program_stays_in_format_1(bundle_folder: Path) -> None:
    document = json.loads((bundle_folder / "manifest.json").read_text())
    assert document["schema_version"] == 1
    assert not any(name in layer for layer in document["layers"] for name in LATER)
    assert load_bundle(bundle_folder).program.format == 1


def test_a_layer_may_be_called_drive_unless_there_is_one(tmp_path: Path) -> None:
    plain = random_program(random_network())
    first, *others = plain.network.layers
    assert isinstance(first, Conv)
    program = replace(plain, network=Network((replace(first, name="drive"), *others)))
    graph = step_graph(program).SerializeToString()
    save_bundle(tmp_path, tiny_manifest(program), program, graph)
    assert load_bundle(tmp_path).program.drive is None
    with pytest.raises(InvalidProgram, match="called drive"):
        replace(program, drive=plain_drive(program))


REFUSED: dict[str, tuple[Change, str]] = {
    "a drive without timesteps": (
        lambda program: replace(
            program,
            drive=Drive(
                np.zeros(0, np.int32), np.zeros((0, 12), np.int32), np.zeros((0, 3), np.uint8)
            ),
        ),
        "0 timesteps",
    ),
    "a drive longer than any run": (
        lambda program: replace(
            program,
            drive=Drive(
                np.ones(MAX_TIMESTEPS + 1, np.int32),
                np.zeros((MAX_TIMESTEPS + 1, 12), np.int32),
                np.zeros((MAX_TIMESTEPS + 1, 3), np.uint8),
            ),
        ),
        "1025 timesteps",
    ),
    "a negative gain": (
        lambda program: replace(
            program, drive=replace(plain_drive(program), gain=np.array([-1], np.int32))
        ),
        r"drive\.gain",
    ),
    "a gain with which sums are inexact": (
        lambda program: replace(
            program,
            weights=(
                IntegerWeights(
                    np.full_like(program.weights[0].weight, 127), program.weights[0].bias
                ),
                *program.weights[1:],
            ),
            drive=replace(plain_drive(program), gain=np.array([20], np.int32)),
        ),
        "2\\^24",
    ),
    "biases that add up beyond int16": (
        lambda program: replace(
            program,
            drive=replace(plain_drive(program), bias=np.full((1, 12), 32_767, np.int32)),
        ),
        "biases reach",
    ),
    "a padding for other channels": (
        lambda program: replace(
            program, drive=replace(plain_drive(program), padding=np.zeros((1, 1), np.uint8))
        ),
        r"drive\.padding must be",
    ),
    "an initial potential beyond membranes": (
        lambda program: with_neurons(program, initial=32_768),
        "int16 membrane",
    ),
    "a reset beyond membranes": (
        lambda program: with_neurons(program, reset_by=32_768),
        "int16 membrane",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_numbers_out_of_bounds_are_refused(name: str) -> None:
    change, message = REFUSED[name]
    with pytest.raises(InvalidProgram, match=message):
        change(random_program(random_network()))


def test_a_pooled_shortcut_of_one_channel_saturates_like_any_other() -> None:
    """400 spikes of weight 127, which are one weight in the bundle."""
    size = 20
    point = Conv("c0", (size, size, 1), 1, kernel=1, padding=0)
    whole = Conv("c1", (size, size, 1), 1, kernel=size, stride=size, padding=0)
    network = Network(
        (
            point,
            Lif("l0", point.out_shape, fire_once=False),
            whole,
            Shortcut("s1", "l0", point.out_shape, 1, size, projects=True),
            Lif("l1", (1, 1, 1), fire_once=False),
            Linear("out", (1, 1, 1), 2),
        )
    )
    zero = np.zeros(1, np.int32)
    matrices = (np.ones((1, 1)), np.zeros((size * size, 1)), np.full((1, 1), 127), [[5, -5]])
    weights = [IntegerWeights(np.array(m, np.int8), zero) for m in matrices[:-1]]
    weights.append(IntegerWeights(np.array(matrices[-1], np.int8), np.zeros(2, np.int32)))
    neurons = tuple(IntegerNeurons.plain(np.array([theta], np.int32)) for theta in (1, 100))
    program = Program(network, tuple(weights), neurons, 1.0)
    frames = np.full((1, size, size, 1), 9, np.uint8)
    for engine in engines(program):
        assert engine.step(frames, engine.start(1)).logits.tolist() == [[5, -5]], engine.name


def test_one_channel_and_strides_that_differ_are_convolved_rightly() -> None:
    """Strides in memory may say channels last as well as first; torch took one for the other."""
    conv = Conv("c0", (4, 2, 1), 63, kernel=4, stride=(1, 2), padding=1)
    network = Network(
        (conv, Lif("l0", conv.out_shape, fire_once=False), Linear("out", conv.out_shape, 2))
    )
    rng = np.random.default_rng(0)
    candidates = engines(free_program_of(network, rng, extreme=False))
    for _ in range(5):
        frames = rng.integers(0, 256, (3, 4, 2, 1), np.uint8)
        steps = [engine.step(frames, engine.start(3)) for engine in candidates]
        assert all(same(steps[0], step) for step in steps[1:])


def test_the_torch_engine_keeps_nothing_of_a_timestep() -> None:
    program = free_program_of(random_network(), np.random.default_rng(1), extreme=False)
    program = replace(program, drive=plain_drive(program))
    engine = TorchEngine(program, "cpu")
    state = engine.start(1)
    kept = []
    for _ in range(3):
        state = engine.step(np.zeros((1, *IMAGE_SHAPE), np.uint8), state).state
        kept.append(len(engine._operations._constants))
    assert kept[0] == kept[2]


def test_frames_are_padded_with_the_drives_values() -> None:
    """A one-weight convolution sums what lies around a black pixel: nothing but padding."""
    conv = Conv("conv", (1, 1, 1), 1)
    network = Network((conv, Lif("lif", (1, 1, 1), fire_once=False), Linear("out", (1, 1, 1), 2)))
    numbers = np.zeros(1, np.int32)
    program = Program(
        network,
        (
            IntegerWeights(np.ones((9, 1), np.int8), numbers),
            IntegerWeights(np.array([[1, 2]], np.int8), np.zeros(2, np.int32)),
        ),
        (IntegerNeurons.unheld(np.array([8 * 125 * 2], np.int32), numbers, numbers),),
        1.0,
        Drive(
            gain=np.array([1, 2], np.int32),
            bias=np.zeros((2, 1), np.int32),
            padding=np.array([[100], [125]], np.uint8),
        ),
    )
    for engine in engines(program):
        state = engine.start(1)
        spikes = []
        for _ in range(3):
            step = engine.step(np.zeros((1, 1, 1, 1), np.uint8), state)
            state = step.state
            spikes.append(int(step.spikes[0, 0]))
            assert not step.active_pairs[0, 0]  # what lies outside is no input
        assert spikes == [0, 1, 1], engine.name


def test_rows_of_different_ages_meet_their_own_drive() -> None:
    rng = np.random.default_rng(5)
    program = random_program(random_network(leak_q=256))
    steps = 5
    program = replace(
        program,
        drive=Drive(
            gain=rng.integers(0, 5, steps).astype(np.int32),
            bias=rng.integers(-300, 300, (steps, 12)).astype(np.int32),
            padding=rng.integers(0, 256, (steps, 3)).astype(np.uint8),
        ),
    )
    images = rng.integers(0, 256, (3, *IMAGE_SHAPE), np.uint8)
    for engine in engines(program):
        alone = []
        for image in images:
            state = engine.start(1)
            for _ in range(3):
                step = engine.step(image[None], state)
                state = step.state
                alone.append(step.logits[0])
        state = engine.start(0)
        for tick in range(5):  # one row enters a tick, each stays for three
            if tick < 3:
                state = state.join([state, engine.start(1)]) if tick else engine.start(1)
            if tick >= 3:
                state = state.take(range(1, state.rows))
            entered = range(max(0, tick - 2), min(tick, 2) + 1)
            step = engine.step(images[list(entered)], state)
            state = step.state
            for row, image in enumerate(entered):
                assert np.array_equal(step.logits[row], alone[image * 3 + tick - image])


def test_a_thousand_timesteps_are_a_program_like_any_other(tmp_path: Path) -> None:
    program = free_program_of(random_network(), np.random.default_rng(1), extreme=False)
    manifest = tiny_manifest(program, timesteps=MAX_TIMESTEPS)
    save_bundle(tmp_path, manifest, program, step_graph(program).SerializeToString())
    bundle = load_bundle(tmp_path)
    assert bundle.manifest.timesteps == MAX_TIMESTEPS
    assert bundle.manifest.schema_version == 2
    image = bundle.manifest.noise_image()
    frames = [bundle.manifest.encoding.frame(image, t) for t in range(2, MAX_TIMESTEPS + 1)]
    assert (np.count_nonzero(frames, axis=0) == 1).all()
