"""The integer program does what the float network does, up to rounding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spikeserve.importing.data.inputs import Inputs, Normalisation
from spikeserve.importing.dynamics.golden import Reading
from spikeserve.importing.dynamics.interpreter import Answer, interpreted
from spikeserve.importing.dynamics.meaning import read_all
from spikeserve.importing.dynamics.readout import readout_of
from spikeserve.importing.integers.program import Rounded, Settings, groups, integers, served_leak
from spikeserve.importing.integers.served import answered
from spikeserve.importing.network import FloatNetwork, Neurons, Synapse
from spikeserve.models.engines.reference import ReferenceEngine
from spikeserve.models.layers import Conv
from tests.importing.networks import SHAPE, images, network

STEPS = 12


def both(full: FloatNetwork, inputs: Inputs, bits: int = 12) -> tuple[Answer, Rounded, Any]:
    answer = interpreted(full, inputs, STEPS)
    settings = Settings(
        inputs.normalisation,
        tuple(int(most) for most in answer.most),
        float(np.abs(answer.outputs).max()),
        (bits,) * groups(full),
        None if inputs.constant else int(inputs.values.max()),
    )
    rounded = integers(full, settings)
    return answer, rounded, answered(rounded, inputs, STEPS)


def agreement(full: FloatNetwork, inputs: Inputs) -> float:
    """The share of inputs and steps whose best class is the same, or as good."""
    answer, _, trace = both(full, inputs)
    sums = readout_of(full).accumulated(answer.outputs)
    chosen = np.take_along_axis(sums, trace.predictions[..., None], axis=2)[..., 0]
    ratio = trace.spikes.sum() / answer.spikes.sum()
    assert ratio == pytest.approx(1, abs=0.02)
    return float((chosen >= sums.max(axis=2) - 0.02 * np.abs(sums).max()).mean())


@pytest.mark.parametrize(
    "reading",
    [
        Reading("snntorch", {}),
        Reading("snntorch", {"reset": "none"}),
        Reading("spikingjelly", {}),
        Reading("spikingjelly", {"reset": "subtract"}),
        Reading("sinabs", {"dt": 1e-4, "gain": "declared"}),
        Reading("sinabs", {"dt": 1e-4, "gain": "declared", "min_membrane": -1.0}),
    ],
    ids=str,
)
@pytest.mark.parametrize("last", ["neurons", "LI", "logits"])
def test_every_meaning_has_its_integers(reading: Reading, last: str) -> None:
    full = read_all(network(last=last, steps=5.0), reading.meaning)
    assert agreement(full, images()) >= 0.97


def test_reset_and_resting_potentials_shift_the_membrane() -> None:
    full = read_all(network(v_reset=-0.3, v_leak=0.1), Reading("spikingjelly", {}).meaning)
    assert agreement(full, images()) >= 0.97
    apart = read_all(
        network(v_reset=-0.3, v_leak=0.1), Reading("spikingjelly", {"start": "leak"}).meaning
    )
    assert agreement(apart, images()) >= 0.97


def test_normalised_images_are_padded_with_their_mean() -> None:
    normalisation = Normalisation(255, np.array([0.49, 0.45]), np.array([0.25, 0.26]))
    inputs = replace(images(), normalisation=normalisation)
    full = read_all(network(kind="IF"), Reading("spikingjelly", {}).meaning)
    _, rounded, _ = both(full, inputs)
    assert rounded.program.drive is not None
    np.testing.assert_array_equal(rounded.program.drive.padding, [[125, 115]])
    assert agreement(full, inputs) >= 0.97


def test_grouped_first_layers_are_normalised_channel_by_channel() -> None:
    """The same as the dense layer with zeros."""
    base = network(kind="IF")
    dense = base.layers[0]
    assert isinstance(dense, Synapse)
    weight = dense.weight.reshape(9, 2, 6).copy()
    grouped = np.concatenate([weight[:, :1, :3], weight[:, 1:, 3:]], axis=2).reshape(9, 6)
    weight[:, 1, :3] = weight[:, 0, 3:] = 0
    one = replace(base, layers=(replace(dense, weight=weight.reshape(18, 6)), *base.layers[1:]))
    conv = Conv("c", SHAPE, 6, kernel=3, padding=1, groups=2)
    two = replace(base, layers=(Synapse(conv, grouped, dense.bias), *base.layers[1:]))
    normalisation = Normalisation(255, np.array([0.1, 0.4]), np.array([0.2, 0.3]))
    inputs = replace(images(), normalisation=normalisation)
    meaning = Reading("spikingjelly", {}).meaning
    first, second = (both(read_all(net, meaning), inputs) for net in (one, two))
    np.testing.assert_allclose(first[0].outputs, second[0].outputs)
    np.testing.assert_array_equal(first[2].logit_sums, second[2].logit_sums)


def test_counts_of_events_enter_unshifted() -> None:
    draw = np.random.default_rng(2)
    values = draw.poisson(0.3, (30, STEPS, *SHAPE)).astype(np.uint8)
    inputs = Inputs(values, Normalisation.plain(2, 1.0))
    full = read_all(network(kind="IF"), Reading("sinabs", {"dt": 1e-4}).meaning)
    assert agreement(full, inputs) >= 0.97
    _, rounded, _ = both(full, inputs, bits=8)
    assert rounded.program.largest_count == values.max()
    assert rounded.program.network.synaptic[0].shift == 0


def test_leaks_that_differ_by_channel_are_served_as_one_and_said() -> None:
    full = read_all(network(), Reading("spikingjelly", {}).meaning)
    neurons = full.layers[1]
    assert isinstance(neurons, Neurons)
    apart = replace(neurons, leak=np.linspace(0.75, 0.85, 6))
    changed = replace(full, layers=(full.layers[0], apart, *full.layers[2:]))
    _, rounded, _ = both(changed, images())
    (warning,) = rounded.warnings
    assert "n: its channels leak differently (0.7500…0.8500)" in warning


@pytest.mark.parametrize(
    ("leak", "served"),
    [
        (1.0, (256, 8, "floor")),
        (0.5, (128, 8, "floor")),
        (0.25, (64, 8, "floor")),
        (0.0, (0, 8, "floor")),
        (0.9, (58982, 16, "nearest")),
        (0.9999999, (256, 8, "floor")),
    ],
)
def test_leaks_are_rounded_to_nearest_unless_they_are_powers_of_two(
    leak: float, served: tuple[int, int, str]
) -> None:
    assert served_leak(leak) == served


def test_quick_products_are_the_references_bits() -> None:
    full = read_all(network(), Reading("snntorch", {}).meaning)
    inputs = images(4)
    _, rounded, trace = both(full, inputs)
    engine = ReferenceEngine(rounded.program)
    state, sums = engine.start(4), np.zeros(trace.logit_sums.shape[1:], np.int64)
    for expected in trace.logit_sums:
        step = engine.step(inputs.values, state)
        state, sums = step.state, sums + step.logits
        np.testing.assert_array_equal(sums, expected)
