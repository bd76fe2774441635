"""A program laid out for the kernels: its tables, and the sizes of what they work on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeserve.models.engines.kernels.arguments import (
    BLOCK,
    WORD,
    Events,
    Scratch,
    Tables,
    check_types,
)
from spikeserve.models.engines.kernels.builder import tables_of
from spikeserve.models.engines.kernels.events import BURST
from spikeserve.models.engines.kernels.packing import lanes_of
from spikeserve.models.engines.kernels.parts import parts_of
from spikeserve.models.errors import EngineUnavailable
from spikeserve.models.layers import Synaptic
from spikeserve.models.layers.lif import MEMBRANE_MAX as INT16_MAX
from spikeserve.models.network import MAX_NEURONS, MAX_WEIGHTS, input_maximum
from spikeserve.models.program import Program


@dataclass(frozen=True)
class Layout:
    """What kernels read of a program, and how much memory they need beside it."""

    tables: Tables

    @classmethod
    def of(cls, program: Program) -> Layout:
        """The layout of a program.

        Raises:
            EngineUnavailable: inputs of a layer do not fit the kernels' int16, or padded channels
                would take too much memory.
        """
        _check_range(program)
        _check_size(program)
        tables = tables_of(program)
        check_types(tables)
        return cls(tables)

    @cached_property
    def inputs(self) -> int:
        """Values of a frame."""
        return int(_volume(self.tables.layers[:1], "height", "width", "channels")[0])

    @cached_property
    def membranes(self) -> int:
        """Membranes of a row, padding included: the classifier's would begin behind them."""
        return int(self.tables.neurons["membranes_at"][-1])

    @cached_property
    def row_bytes(self) -> int:
        """A row's membranes and its fired flags."""
        return self.membranes * 2 + self.membranes // 8

    @cached_property
    def first_bytes(self) -> int:
        """The currents of the first layer."""
        return int(_volume(self.tables.layers[:1], "out_height", "out_width", "lanes")[0]) * 2

    @cached_property
    def alike(self) -> list[int]:
        """For every timestep of the drive, the first one with the same gain and padding."""
        drive = self.tables.drive
        numbers = list(
            zip(drive.gains, map(bytes, drive.paddings.reshape(drive.steps, -1)), strict=True)
        )
        return [numbers.index(each) for each in numbers]

    def scratch(self) -> Scratch:
        """Working memory for one thread."""
        layers, shortcuts, neurons, pools = (
            self.tables.layers, self.tables.shortcuts, self.tables.neurons, self.tables.pools
        )  # fmt: skip
        pool_words = -(-pools["channels"] // WORD)
        masks = _most(
            _volume(neurons, "height", "width", "lanes") // WORD,
            _volume(pools, "out_height", "out_width") * pool_words,
        )
        values = _most(
            [self.inputs],
            _volume(neurons, "height", "width", "channels") * (neurons["max_spikes"] > 1),
            _volume(pools, "height", "width", "channels"),
            _volume(pools, "out_height", "out_width", "channels"),
        )
        saved = shortcuts["source_at"] + _volume(shortcuts, "height", "width") * -(
            -shortcuts["channels"] // WORD
        )
        rows = layers["height"] + 2 * layers["padding_y"]
        pitch = (layers["width"] + 2 * layers["padding_x"]) * layers["channels"]
        scratch = Scratch(
            masks=np.zeros(masks, np.uint64),
            spare_masks=np.zeros(masks, np.uint64),
            saved_masks=np.zeros(_most(saved), np.uint64),
            values=np.zeros(values, np.int32),
            spare_values=np.zeros(values, np.int32),
            padded=np.zeros(_most(rows * pitch * layers["analog"]) + 1, np.int16),
            events=_events(layers),
            shortcut_events=_events(shortcuts),
            currents=np.zeros(_most(layers["out_width"]) * BLOCK, np.int16),
            shortcut_currents=np.zeros(_most(shortcuts["out_width"]) * BLOCK, np.int16),
            counts=np.zeros(WORD, np.int16),
        )
        check_types(scratch)
        return scratch


def _events(layers: NDArray[Any]) -> Events:
    """Room for every input of the largest layer."""
    places = _most(_volume(layers, "height", "width", "channels")) + BURST
    pixels = _most(_volume(layers, "height", "width"))
    return Events(np.zeros(places, np.int32), np.zeros(pixels + 1, np.int32))


def _volume(records: NDArray[Any], *names: str) -> NDArray[np.int64]:
    """A product of fields, one number a record."""
    product = np.ones(len(records), np.int64)
    for name in names:
        product *= records[name]
    return product


def _most(*sizes: Any) -> int:
    return max([1, *(int(size) for each in sizes for size in each)])


def _check_range(program: Program) -> None:
    """Refuse what does not fit 16 bits."""
    for layer in program.network.synaptic:
        maximum = input_maximum(program.network, layer)
        if not layer.joins and maximum > INT16_MAX:
            raise EngineUnavailable(
                f"inputs of {layer.name!r} exceed the event engine's int16; "
                "the onnx engine can run this bundle"
            )


def _check_size(program: Program) -> None:
    """Refuse what padding would blow up, before allocating."""
    network = program.network
    neurons = sum(math.prod(lif.in_shape[:2]) * lanes_of(lif.in_shape[2]) for lif in network.lifs)
    weights = sum(map(_padded_weights, network.synaptic))
    if neurons > MAX_NEURONS or weights > MAX_WEIGHTS:
        raise EngineUnavailable(
            f"with channels in groups of {WORD} the event engine would need {neurons} "
            f"neurons and {weights} weights; the onnx engine can run this bundle"
        )


def _padded_weights(layer: Synaptic) -> int:
    return layer.window.area * sum(len(part.inputs) * len(part.lanes) for part in parts_of(layer))
