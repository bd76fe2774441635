"""Spike maps say where the spikes were that engines count, on any network."""

from __future__ import annotations

import tracemalloc
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeserve.models.encoding import Encoding, Pixels
from spikeserve.models.engines.event import EventEngine
from spikeserve.models.inference import trace
from spikeserve.models.layers import Conv, Layer, Lif, Linear
from spikeserve.models.network import Network
from spikeserve.models.program import Program
from spikeserve.models.spike_maps import (
    MAX_SIDE,
    SpikeMaps,
    drawn,
    state_memory,
    step_memory,
    thinned,
)
from tests.networks import any_program_of, layers
from tests.programs import random_program

TIMESTEPS = 4
OVERHEAD = 64 << 10
"""Python's own objects."""


@settings(max_examples=25, deadline=None)
@given(layers(), st.integers(0, 2**32 - 1), st.sampled_from(["direct", "hybrid"]))
def test_maps_add_up_to_what_the_event_engine_counts(
    sequence: tuple[Layer, ...], seed: int, kind: Literal["direct", "hybrid"]
) -> None:
    rng = np.random.default_rng(seed)
    program = any_program_of(Network(sequence), rng, extreme=False)
    encoding = Encoding(kind if program.largest_count is None else "direct", TIMESTEPS)
    image = rng.integers(0, program.largest_input + 1, program.network.input_shape, np.uint8)
    counted = trace(EventEngine(program, 1), encoding, image[None]).spikes[:, 0]
    maps = SpikeMaps(program, encoding, image)
    for t in range(TIMESTEPS):
        shown = maps.step()
        assert np.array_equal(shown.frame, encoding.frame(image, t + 1))
        each = zip(shown.spikes, program.network.lifs, counted[t], strict=True)
        for spikes, lif, count in each:
            assert spikes.shape == lif.in_shape
            assert spikes.sum() == count or (lif.max_spikes > 1 and spikes.sum() < count)
    with pytest.raises(ValueError, match="outside"):
        maps.step()


@pytest.mark.parametrize(
    ("shape", "cells"),
    [
        ((8, 8, 3), (8, 8)),
        ((32, 5, 200), (32, 5)),
        ((33, 64, 2), (17, 32)),  # two rows, and the last one alone
        ((224, 100, 4), (32, 15)),
        ((1, 1, 1), (1, 1)),
        ((1, 1, 512), (23, 23)),
        ((1, 1, 5000), (24, 24)),  # a grid of 71 × 71, three by three
    ],
)
def test_drawn_maps_have_few_cells(shape: tuple[int, ...], cells: tuple[int, int]) -> None:
    nobody, everybody = np.zeros(shape, np.bool_), np.ones(shape, np.bool_)
    assert drawn(nobody).shape == cells
    assert max(cells) <= MAX_SIDE
    assert not drawn(nobody).any()
    full = drawn(everybody)
    assert full.dtype == np.uint8
    assert full.ravel()[0] == 255


def test_one_spike_among_thousands_shows() -> None:
    spikes = np.zeros((64, 64, 512), np.bool_)
    spikes[63, 0, 17] = True
    cells = drawn(spikes)
    assert cells[31, 0] == 1
    assert cells.sum() == 1


def test_large_frames_are_thinned_out() -> None:
    frame = np.arange(224 * 130 * 3, dtype=np.uint32).astype(np.uint8).reshape(224, 130, 3)
    assert thinned(frame).shape == (56, 33, 3)
    assert np.array_equal(thinned(frame)[1, 1], frame[4, 4])
    assert np.array_equal(thinned(frame[:64, :64]), frame[:64, :64])


def peak(program: Program, encoding: Encoding, image: Pixels) -> tuple[int, int]:
    """Bytes of a state, and of a timestep on top of it."""
    tracemalloc.start()
    try:
        maps = SpikeMaps(program, encoding, image)
        before, _ = tracemalloc.get_traced_memory()
        maps.step()
        return before, tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@settings(max_examples=25, deadline=None)
@given(layers(), st.integers(0, 2**32 - 1))
def test_no_timestep_takes_more_memory_than_foretold(
    sequence: tuple[Layer, ...], seed: int
) -> None:
    network, rng = Network(sequence), np.random.default_rng(seed)
    program = any_program_of(network, rng, extreme=False)
    image = rng.integers(0, 256, network.input_shape, np.uint8)
    state, step = peak(program, Encoding("direct", TIMESTEPS), image)
    assert state <= state_memory(network) + OVERHEAD
    assert step <= step_memory(network) + OVERHEAD


@pytest.mark.parametrize(
    "heavy",
    [
        Conv("by its windows", (64, 64, 16), 4, kernel=7, padding=3),
        Conv("by its outputs", (64, 64, 1), 256, kernel=1, padding=0),
        Linear("by its weights", (32, 32, 1), 2048),
    ],
)
def test_memory_is_foretold_for_what_weighs_most(heavy: Conv | Linear) -> None:
    lif = Lif("lif", heavy.out_shape, leak_q=230, reset="soft", fire_once=False)
    network = Network((heavy, lif, Linear("classifier", lif.out_shape, 2)))
    image = np.zeros(network.input_shape, np.uint8)
    _, step = peak(random_program(network), Encoding("direct", TIMESTEPS), image)
    assert step <= step_memory(network) <= 2 * step
