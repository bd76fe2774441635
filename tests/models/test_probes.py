"""A step graph with other numbers than the program's is found, whichever number it is."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import numpy_helper

from spikeserve.models.bundle import GRAPH, MANIFEST, Bundle, load_bundle
from spikeserve.models.engines.onnx import OnnxEngine
from spikeserve.models.engines.probes import probes
from spikeserve.models.engines.reference import ReferenceEngine
from spikeserve.models.engines.selection import _compare_numbers, build_engine
from spikeserve.models.errors import EngineUnavailable
from spikeserve.models.layers import Conv, Layer, Lif, Linear
from spikeserve.models.network import Network
from spikeserve.models.program import Drive, IntegerNeurons, IntegerWeights, Program
from spikeserve.models.shipped import ZOO
from spikeserve.training.export import step_graph
from tests.networks import any_program_of, layers
from tests.programs import random_network, random_program

DEFAULT = ZOO / "early-exit-vgg8-cifar10"


def refused(program: Program, graph: bytes) -> bool:
    try:
        _compare_numbers(OnnxEngine(program, graph, 1), program)
    except EngineUnavailable:
        return True
    return False


def moved(array: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """With one number that is 1 more, or 1 less."""
    other, at = array.copy(), rng.integers(array.size)
    number = int(other.flat[at])
    other.flat[at] = number - 1 if number > 0 else number + 1
    return other


@settings(max_examples=25, deadline=None)
@given(layers(), st.integers(0, 2**32 - 1), st.booleans())
def test_the_programs_own_graph_passes(
    sequence: tuple[Layer, ...], seed: int, extreme: bool
) -> None:
    program = any_program_of(Network(sequence), np.random.default_rng(seed), extreme)
    assert not refused(program, step_graph(program).SerializeToString())


def test_what_is_expected_is_what_the_reference_gives(bundle: Bundle) -> None:
    engine = ReferenceEngine(bundle.program)
    for probe in probes(bundle.program):
        step = engine.step(probe.frames, probe.state)
        assert np.array_equal(step.logits, probe.expected.logits)
        assert np.array_equal(step.spikes, probe.expected.spikes)
        assert all(map(np.array_equal, step.state.arrays, probe.expected.state.arrays))


def others(program: Program, rng: np.random.Generator) -> Iterator[Program]:
    """Programs of which one number is another, of every array in turn."""
    for index, weights in enumerate(program.weights):
        for other in (
            IntegerWeights(moved(weights.weight, rng), weights.bias),
            IntegerWeights(weights.weight, moved(weights.bias, rng)),
        ):
            changed = [*program.weights]
            changed[index] = other
            yield dataclasses.replace(program, weights=tuple(changed))
    for index, neurons in enumerate(program.neurons):
        soft = program.network.lifs[index].reset == "soft"
        parts = ["threshold", *(["reset_by"] if soft else [])]
        for part in [*parts, *(["minimum"] if neurons.is_held else [])]:
            changed_neurons = [*program.neurons]
            changed_neurons[index] = dataclasses.replace(
                neurons, **{part: moved(getattr(neurons, part), rng)}
            )
            yield dataclasses.replace(program, neurons=tuple(changed_neurons))
    if program.drive is not None:
        for field in dataclasses.fields(Drive):
            number = moved(getattr(program.drive, field.name), rng)
            drive = dataclasses.replace(program.drive, **{field.name: number})
            yield dataclasses.replace(program, drive=drive)


def driven(program: Program) -> Program:
    """With gains, biases and paddings at three timesteps, and neurons of format 2."""
    first = program.network.synaptic[0]
    rng = np.random.default_rng(2)
    return dataclasses.replace(
        program,
        neurons=tuple(
            IntegerNeurons.unheld(one.threshold, one.threshold // 2, one.initial)
            for one in program.neurons
        ),
        drive=Drive(
            gain=np.array([3, 1, 2], np.int32),
            bias=rng.integers(-50, 50, (3, first.out_channels)).astype(np.int32),
            padding=rng.integers(1, 200, (3, first.in_shape[2])).astype(np.uint8),
        ),
    )


@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("drive", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_any_single_number_that_differs_is_found(
    reset: Literal["hard", "soft"], drive: bool, seed: int
) -> None:
    program = random_program(random_network(("8", "P", "R12/2", "12", "G"), reset=reset), seed)
    program = driven(program) if drive else program
    for other in others(program, np.random.default_rng(seed)):
        assert refused(program, step_graph(other).SerializeToString())


def later(program: Program, max_spikes: int) -> Program:
    """With all that came last to format 2 in every layer that can have it."""
    rng = np.random.default_rng(max_spikes)
    layers = tuple(
        dataclasses.replace(
            layer, reset="soft", fire_once=False, leak_rounding="nearest", max_spikes=max_spikes
        )
        if isinstance(layer, Lif)
        else dataclasses.replace(layer, weight_bits=12)
        if isinstance(layer, Conv | Linear)
        else layer
        for layer in program.network.layers
    )
    return dataclasses.replace(
        program,
        network=Network(layers),
        weights=tuple(
            IntegerWeights(one.weight.astype(np.int16) * np.int16(5), one.bias)
            for one in program.weights
        ),
        neurons=tuple(
            dataclasses.replace(
                one,
                threshold=np.maximum(one.threshold, 1),
                minimum=rng.integers(-900, 1, one.minimum.shape).astype(np.int32),
            )
            for one in program.neurons
        ),
        largest_count=9,
    )


@pytest.mark.parametrize("max_spikes", [1, 2, 9])
def test_any_single_number_of_later_programs_is_found(max_spikes: int) -> None:
    network = random_network(("8", "P", "12/2", "12", "G"), leak_q=200)
    program = later(random_program(network), max_spikes)
    assert not refused(program, step_graph(program).SerializeToString())
    for other in others(program, np.random.default_rng(max_spikes)):
        assert refused(program, step_graph(other).SerializeToString())


@pytest.mark.parametrize("change", [{"max_spikes": 4}, {"leak_rounding": "floor"}])
def test_neurons_that_spike_or_leak_otherwise_are_found(change: dict[str, Any]) -> None:
    program = later(random_program(random_network(leak_q=200)), 3)
    layers = tuple(
        dataclasses.replace(layer, **change) if isinstance(layer, Lif) else layer
        for layer in program.network.layers
    )
    other = dataclasses.replace(program, network=Network(layers))
    assert refused(program, step_graph(other).SerializeToString())


@pytest.mark.parametrize("change", [{"leak_q": 229}, {"reset": "soft"}, {"fire_once": False}])
def test_neurons_of_another_kind_are_found(change: dict[str, Any]) -> None:
    program = random_program(random_network())
    other = dataclasses.replace(program, network=random_network(**change))
    assert refused(program, step_graph(other).SerializeToString())


@pytest.mark.parametrize(("old", "new"), [("pads", [0, 0, 0, 0]), ("strides", [1, 1])])
def test_windows_elsewhere_are_found(old: str, new: list[int]) -> None:
    program = random_program(random_network())
    graph = step_graph(program)
    (node,) = [n for n in graph.graph.node if n.op_type == "Conv"][1:2]
    (attribute,) = [a for a in node.attribute if a.name == old]
    attribute.ints[:] = new
    assert refused(program, graph.SerializeToString())


def classifier(graph: onnx.ModelProto) -> onnx.TensorProto:
    (last,) = [n for n in graph.graph.node if n.op_type == "Conv"][-1:]
    (cast,) = [n for n in graph.graph.node if last.input[1] in n.output]
    weights: onnx.TensorProto
    (weights,) = [i for i in graph.graph.initializer if i.name == cast.input[0]]
    return weights


@pytest.mark.parametrize("kind", ["one weight", "two inputs swapped", "two classes", "all"])
def test_a_bundle_with_another_classifier_in_its_graph_is_refused(
    kind: str, tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(DEFAULT, folder)
    graph = onnx.load(folder / GRAPH)
    tensor = classifier(graph)
    weights, rng = numpy_helper.to_array(tensor).copy(), np.random.default_rng(3)
    if kind == "one weight":
        weights[3, 77, 0, 0] ^= 1
    elif kind == "two inputs swapped":
        weights[:, [5, 60]] = weights[:, [60, 5]]
    elif kind == "two classes":
        weights[[0, 1]] = weights[[1, 0]]
    else:
        weights = rng.permutation(weights.reshape(-1)).reshape(weights.shape)
    tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))
    onnx.save(graph, folder / GRAPH)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][GRAPH] = hashlib.sha256((folder / GRAPH).read_bytes()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(EngineUnavailable, match="export the bundle again"):
        build_engine(load_bundle(folder), "onnx")


def test_a_graph_that_keeps_what_the_program_does_not_is_refused(bundle: Bundle) -> None:
    graph = onnx.load_from_string(bundle.graph)
    graph.graph.input.append(
        onnx.helper.make_tensor_value_info("v_more", onnx.TensorProto.FLOAT, ["N", 1, 1, 1])
    )
    graph.graph.node.append(onnx.helper.make_node("Identity", ["v_more"], ["new_v_more"]))
    graph.graph.output.append(
        onnx.helper.make_tensor_value_info("new_v_more", onnx.TensorProto.FLOAT, ["N", 1, 1, 1])
    )
    with pytest.raises(EngineUnavailable, match="keeps v_more"):
        OnnxEngine(bundle.program, graph.SerializeToString())
