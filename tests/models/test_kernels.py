"""The kernels one by one: the example that docs/ENGINES.md works out by hand, and packing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray

from spikeserve.models.engines.kernels.arguments import (
    Maps,
    Scratch,
    Tables,
    check_types,
)
from spikeserve.models.engines.kernels.events import mask_events, mask_pairs
from spikeserve.models.engines.kernels.layout import Layout
from spikeserve.models.engines.kernels.neurons import memory_at, neuron_row
from spikeserve.models.engines.kernels.packing import aligned, blocks_of, event_weights
from spikeserve.models.engines.kernels.parts import Part, matrix_of, parts_of
from spikeserve.models.engines.kernels.pointers import bare
from spikeserve.models.engines.kernels.sums import event_row
from spikeserve.models.layers import Conv, Lif, Linear
from spikeserve.models.network import Network
from spikeserve.models.program import IntegerNeurons, IntegerWeights, Program

SHAPE = (4, 4, 2)
ROWS = np.arange(1, 19, dtype=np.int8)[:, None]  # weight row r is r + 1
THRESHOLD = 20


@pytest.fixture(scope="module")
def layout() -> Layout:
    """Some layer that spikes, then a 3x3 convolution of its two channels to one."""
    conv = Conv("conv", SHAPE, 1)
    network = Network(
        (
            Conv("in", (4, 4, 1), 2, kernel=1, padding=0),
            Lif("lif.in", SHAPE),
            conv,
            Lif("lif", conv.out_shape),
            Linear("out", conv.out_shape, 2),
        )
    )
    matrices = (np.zeros((1, 2), np.int8), ROWS, np.zeros((16, 2), np.int8))
    weights = tuple(IntegerWeights(m, np.zeros(m.shape[1], np.int32)) for m in matrices)
    thresholds = (np.ones(2, np.int32), np.full(1, THRESHOLD, np.int32))
    neurons = tuple(map(IntegerNeurons.plain, thresholds))
    return Layout.of(Program(network, weights, neurons, 1.0))


@njit
def currents_and_spikes(  # type: ignore[no-untyped-def]
    tables, scratch, before, after, masks, currents, spikes
):
    """What ``synaptic_layer`` does, row by row, with every row's currents kept."""
    tables, scratch = bare(tables), bare(scratch)
    layer, part, neurons = tables.layers[1], tables.parts[1], tables.neurons[1]
    memory = memory_at(before, after, tables.neurons[2].membranes_at)
    for k in range(masks.size):
        scratch.masks[k] = masks[k]
    mask_events(scratch.masks, layer, part, tables.read_masks, scratch.events)
    pairs, fired = 0, 0
    for y in range(4):
        pairs += event_row(
            layer, part, y, 0, 64, 1, scratch.events, tables.weights.event, scratch.currents
        )
        for x in range(4):
            currents[y, x] = scratch.currents[x * 64]
        fired += neuron_row(
            neurons,
            y,
            0,
            64,
            neurons.bias_at,
            scratch.currents,
            tables.channels,
            memory,
            scratch.counts,
            Maps(scratch.spare_masks, scratch.spare_values),
        )
    for k in range(16):
        spikes[k] = scratch.spare_masks[k]
    return pairs, fired, mask_pairs(scratch.masks, layer, tables.coverage)


def three_spikes() -> NDArray[np.uint64]:
    """Channel 0 at row 0, column 1; channel 1 at row 1, column 2; channel 0 beside it."""
    masks = np.zeros((4, 4), np.uint64)
    masks[0, 1], masks[1, 2], masks[1, 3] = 0b01, 0b10, 0b01
    return masks.ravel()


def test_the_example_of_the_docs(layout: Layout) -> None:
    scratch = layout.scratch()
    memory = [aligned(np.zeros(layout.membranes * 3, np.uint8)) for _ in range(2)]
    currents, spikes = np.zeros((4, 4), np.int64), np.zeros(16, np.uint64)
    before, after = (np.uint64(piece.ctypes.data) for piece in memory)
    pairs, fired, covered = currents_and_spikes(
        layout.tables, scratch, before, after, three_spikes(), currents, spikes
    )
    assert scratch.events.places[:3].tolist() == [2, 5, 6]
    assert scratch.events.pointer[:17].tolist() == [0, 0, 1, 1, 1, 1, 1, 2, *[3] * 9]
    assert currents.tolist() == [[11, 27, 40, 29], [5, 15, 22, 17], [0, 6, 9, 5], [0, 0, 0, 0]]
    assert spikes.reshape(4, 4).tolist() == [[0, 1, 1, 1], [0, 0, 1, 0], [0] * 4, [0] * 4]
    assert (pairs, fired, covered) == (21, 4, 21)


def test_event_weights_give_both_channels_of_a_lane_back() -> None:
    weight = np.random.default_rng(4).integers(-128, 128, (5, 192)).astype(np.int8)
    flat = event_weights(weight, blocks_of(192))
    wide = flat[: 5 * 128].view(np.int16).reshape(5, 64)
    assert np.array_equal(wide >> 8, weight[:, 64:128])
    assert np.array_equal((wide & 255) - 128, weight[:, :64])
    narrow = flat[5 * 128 :].view(np.int16).reshape(5, 32)
    assert np.array_equal(narrow >> 8, weight[:, 160:])


@pytest.mark.parametrize(
    ("channels", "outputs", "groups", "parts"),
    [
        (70, 192, 1, [Part(range(70), range(192))]),
        (256, 256, 2, [Part(range(128), range(128)), Part(range(128, 256), range(128, 256))]),
        (130, 130, 130, [Part(range(64), range(64)), Part(range(64, 128), range(64, 128)),
                         Part(range(128, 130), range(128, 192))]),
        (6, 78, 3, [Part(range(6), range(64)), Part(range(4, 6), range(64, 128))]),
    ],
)  # fmt: skip
def test_parts_read_what_their_groups_see(
    channels: int, outputs: int, groups: int, parts: list[Part]
) -> None:
    layer = Conv("conv", (4, 4, channels), outputs, groups=groups)
    assert parts_of(layer) == parts
    weight = np.random.default_rng(5).integers(1, 9, layer.weight_shape).astype(np.int8)
    per_output = 9 * channels // groups
    for part in parts:
        matrix = matrix_of(layer, part, weight)
        assert matrix.shape == (9 * len(part.inputs), len(part.lanes))
        used = min(part.lanes.stop, outputs) - part.lanes.start
        assert (np.count_nonzero(matrix, axis=0)[:used] == per_output).all()
        assert not matrix[:, used:].any()
        columns = weight[:, part.lanes.start : part.lanes.start + used]
        assert np.array_equal(matrix.sum(axis=0)[:used], columns.sum(axis=0))


def test_arrays_of_another_type_are_refused(layout: Layout) -> None:
    tables: Tables = layout.tables
    scratch: Scratch = layout.scratch()
    wrong: list[Any] = [
        tables._replace(coverage=tables.coverage.astype(np.int32)),
        tables._replace(coverage=tables.coverage.copy()),  # not read-only
        scratch._replace(masks=scratch.masks[::2]),
    ]
    for arguments in wrong:
        with pytest.raises(TypeError, match="kernels take"):
            check_types(arguments)
