"""One walk over a program: every layer adds its numbers to the tables, and a record of where."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, assert_never

import numpy as np
from numpy.typing import DTypeLike, NDArray

from spikeserve.models.engines.kernels.arguments import (
    ABSENT,
    LAYER,
    NEURONS,
    PART,
    POOL,
    WORD,
    Channels,
    Drive,
    Tables,
    Weights,
)
from spikeserve.models.engines.kernels.packing import (
    aligned,
    analog_weights,
    bits,
    blocks_of,
    event_weights,
    lanes_of,
    padded,
    wide_weights,
)
from spikeserve.models.engines.kernels.parts import (
    Part,
    is_depthwise,
    matrix_of,
    parts_of,
    whole_matrix,
)
from spikeserve.models.layers import Lif, Pool, Shape, Synaptic
from spikeserve.models.layers.lif import FINE_LEAK_BITS
from spikeserve.models.layers.lif import MEMBRANE_MAX as INT16_MAX
from spikeserve.models.layers.lif import MEMBRANE_MIN as INT16_MIN
from spikeserve.models.network import Network, input_maximum
from spikeserve.models.program import Drive as ProgramDrive
from spikeserve.models.program import IntegerNeurons, IntegerWeights, Program, largest_sum

ALL_BITS = 2**64 - 1
SPARSE = 4  # beyond one spike for so many inputs, summing all inputs is faster than events
NONE_SAFE = -1  # not even no event at all: always summed in 32 bits


class Stack:
    """Arrays laid end to end."""

    def __init__(self, dtype: DTypeLike) -> None:
        self._arrays: list[NDArray[Any]] = [np.zeros(0, dtype)]
        self.size = 0

    def add(self, values: NDArray[Any]) -> int:
        """Where ``values`` begin."""
        at = self.size
        self._arrays.append(values.astype(self._arrays[0].dtype, copy=False).ravel())
        self.size += values.size
        return at

    def joined(self) -> NDArray[Any]:
        return fixed(np.concatenate(self._arrays))


class TableBuilder:
    """Takes the layers of a network in order."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._layers: list[NDArray[Any]] = []
        self._shortcuts: list[NDArray[Any]] = []
        self._parts: list[NDArray[Any]] = []
        self._neurons: list[NDArray[Any]] = []
        self._pools: list[NDArray[Any]] = []
        self._event, self._wide = Stack("i1"), Stack("i2")
        self._analog, self._depthwise = Stack("i2"), Stack("i2")
        self._biases, self._thresholds, self._never_fires = Stack("i2"), Stack("i2"), Stack("u8")
        self._reset_by, self._initial, self._minima = Stack("i2"), Stack("i2"), Stack("i2")
        self._coverage, self._read_masks = Stack("i8"), Stack("u8")
        self._columns = 0
        self._membranes = 0
        self._lanes = 0  # of all neurons so far
        self._bias = np.zeros((1, 0), np.int32)  # [timesteps, lanes], of all that feed neurons
        self._blocks: list[int] = []  # in which the layer is summed that a shortcut may join
        self._sources = {layer.input_name for layer in network.synaptic if layer.joins}
        self._saved: dict[str, int] = {}
        self._saved_words = 0

    def add_synaptic(
        self,
        layer: Synaptic,
        weights: IntegerWeights,
        counts: bool,
        drive: ProgramDrive | None,
    ) -> None:
        """Args:
        counts: its inputs are counts of spikes, each of which makes active pairs of its own.
        drive: of the first layer.
        """
        analog = not layer.joins and input_maximum(self._network, layer) > 1
        whole = whole_matrix(layer, weights.weight)
        fits = is_depthwise(layer) and largest_sum(whole, 1, 0).max() <= INT16_MAX
        depthwise = fits and not analog
        lanes = lanes_of(layer.out_channels)
        parts = parts_of(layer)
        if depthwise:
            parts = [Part(range(layer.in_shape[2]), range(lanes))]
        if not layer.joins:
            blocks = [width for part in parts for width in blocks_of(len(part.lanes))]
            self._blocks = [WORD] * (lanes // WORD) if analog else blocks
        fields = {
            **_window_fields(layer),
            "shift": layer.shift,
            "lanes": lanes,
            "first_part": len(self._parts),
            "last_part": len(self._parts) + len(parts),
            "depthwise_at": self._depthwise.add(padded(whole)) if depthwise else ABSENT,
            "source_at": self._saved[layer.input_name] if layer.input_name else 0,
            "coverage_at": self._coverage.add(layer.coverage),
            "column": self._columns,
            "most_spikes": math.prod(layer.in_shape) // SPARSE if counts else ABSENT,
            "largest_pairs": INT16_MAX if counts else 1,
            "whole": len(parts) == 1 and not depthwise,
            "analog": analog,
            "wide": layer.is_wide,
        }
        self._columns += 1
        for part in parts:
            self._add_part(layer, part, None if depthwise else whole, analog, counts)
        bias = padded(weights.bias)[None]
        if drive is not None:
            bias = bias + padded(drive.bias)
        if layer.joins:
            self._shortcuts[-1] = _record(LAYER, fields)
            self._layers[-1]["most_spikes"] = ABSENT  # their blocks would not be the shortcut's
            self._bias = self._bias + bias
        else:
            self._layers.append(_record(LAYER, fields))
            self._shortcuts.append(_record(LAYER, {"column": ABSENT}))
            self._bias = bias

    def _add_part(
        self,
        layer: Synaptic,
        part: Part,
        whole: NDArray[Any] | None,
        analog: bool,
        counts: bool,
    ) -> None:
        read = np.zeros(lanes_of(layer.in_shape[2]), np.bool_)
        read[part.inputs.start : part.inputs.stop] = True
        words = bits(read)[part.words.start : part.words.stop]
        fields = {
            "first_channel": part.inputs.start,
            "channels": len(part.inputs),
            "first_lane": part.lanes.start,
            "lanes": len(part.lanes),
            "rows": layer.window.area * len(part.inputs),
            "read_at": self._read_masks.add(words) - part.words.start,
            "first_word": part.words.start,
            "last_word": part.words.stop,
        }
        if whole is not None:
            matrix = matrix_of(layer, part, whole)
            blocks = self._blocks if layer.joins else blocks_of(len(part.lanes))
            if layer.is_wide:
                fields["event_at"] = self._wide.add(wide_weights(matrix, blocks))
                fields["safe_events"] = NONE_SAFE
            else:
                fields["event_at"] = self._event.add(event_weights(matrix, blocks))
                fields["safe_events"] = safe_events(matrix, counts)
            if analog:
                pairs = analog_weights(matrix, layer.window.kernel[0])
                fields["analog_at"] = self._analog.add(pairs)
        self._parts.append(_record(PART, fields))

    def add_neurons(self, lif: Lif, numbers: IntegerNeurons) -> None:
        height, width, channels = lif.in_shape
        lanes = lanes_of(channels)
        theta = padded(numbers.threshold)
        lowest = 1 if lif.max_spikes > 1 else INT16_MIN  # padding must not divide by 0
        self._thresholds.add(np.clip(theta, lowest, INT16_MAX))
        self._reset_by.add(np.minimum(padded(numbers.reset_by), INT16_MAX))
        self._initial.add(padded(numbers.initial))
        self._minima.add(padded(numbers.minimum))
        self._never_fires.add(bits((theta > INT16_MAX) | (np.arange(lanes) >= channels)))
        self._add_neurons(
            lanes,
            {
                "height": height,
                "width": width,
                "channels": channels,
                "lanes_at": self._lanes,
                "words_at": self._membranes // WORD,
                "saved_at": self._place(lif.name, lif.out_shape),
                "once": ALL_BITS if lif.fire_once else 0,
                "soft": -1 if lif.reset == "soft" else 0,
                "max_spikes": lif.max_spikes,
                "plain": lif.leak_rounding == "floor" and not numbers.is_held,
                **_leak_fields(lif),
            },
        )
        self._membranes += height * width * lanes
        self._lanes += lanes

    def _add_neurons(self, lanes: int, fields: Mapping[str, int]) -> None:
        places = {
            "bias_at": self._biases.add(self._bias),
            "bias_steps": len(self._bias),
            "membranes_at": self._membranes,
        }
        pools = dict.fromkeys(("first_pool", "last_pool"), len(self._pools))
        self._neurons.append(_record(NEURONS, {"lanes": lanes, **places, **pools, **fields}))

    def add_pool(self, pool: Pool) -> None:
        place = self._place(pool.name, pool.out_shape)
        fields = {**_window_fields(pool), "saved_at": place, "summed": not pool.spiking}
        self._pools.append(_record(POOL, fields))
        self._neurons[-1]["last_pool"] += 1

    def _place(self, name: str, shape: Shape) -> int:
        """Where a layer's spikes are saved, if a shortcut reads them."""
        if name not in self._sources:
            return ABSENT
        self._saved[name] = at = self._saved_words
        self._saved_words += shape[0] * shape[1] * lanes_of(shape[2]) // WORD
        return at

    def tables(self, drive: ProgramDrive | None) -> Tables:
        """All that was added; the classifier's biases lie where its neurons' would."""
        self._add_neurons(self._bias.shape[1], {"saved_at": ABSENT})
        return Tables(
            layers=_records(self._layers, LAYER),
            shortcuts=_records(self._shortcuts, LAYER),
            parts=_records(self._parts, PART),
            neurons=_records(self._neurons, NEURONS),
            pools=_records(self._pools, POOL),
            weights=Weights(
                event=fixed(aligned(self._event.joined())),
                wide=fixed(aligned(self._wide.joined())),
                analog=fixed(aligned(self._analog.joined())),
                depthwise=fixed(aligned(self._depthwise.joined())),
            ),
            channels=Channels(
                biases=self._biases.joined(),
                thresholds=self._thresholds.joined(),
                reset_by=self._reset_by.joined(),
                initial=self._initial.joined(),
                minima=self._minima.joined(),
                never_fires=self._never_fires.joined(),
            ),
            drive=_drive(drive, self._network.input_shape[2]),
            coverage=self._coverage.joined(),
            read_masks=self._read_masks.joined(),
        )


def tables_of(program: Program) -> Tables:
    builder = TableBuilder(program.network)
    weights = iter(zip(program.weights, program.counts, strict=True))
    neurons, drive = iter(program.neurons), program.drive
    for layer in program.network.layers:
        match layer:
            case Synaptic():
                first = layer is program.network.layers[0]
                builder.add_synaptic(layer, *next(weights), drive if first else None)
            case Lif():
                builder.add_neurons(layer, next(neurons))
            case Pool():
                builder.add_pool(layer)
            case _:
                assert_never(layer)
    return builder.tables(drive)


def safe_events(matrix: NDArray[np.int8], repeated: bool) -> int:
    """The most events whose weights ``[rows, lanes]`` add up to what int16 holds, whichever, and
    the same one again and again where they may be ``repeated``."""
    if repeated:
        return INT16_MAX // max(1, int(np.abs(matrix.astype(np.int32)).max()))
    fewest = len(matrix)
    for start in range(0, matrix.shape[1], WORD):
        lanes = matrix[:, start : start + WORD].astype(np.int32)
        for signed in (lanes, -lanes):
            heaviest = -np.sort(-np.maximum(signed, 0), axis=0)
            fits = (heaviest.cumsum(axis=0) <= INT16_MAX).all(axis=1)
            fewest = min(fewest, int(fits.sum()))
    return fewest


def fixed(array: NDArray[Any]) -> NDArray[Any]:
    """The array, read-only from now on, as the kernels' types say."""
    array.flags.writeable = False
    return array


def _window_fields(layer: Synaptic | Pool) -> dict[str, int]:
    window = layer.window
    names = ("height", "width", "channels")
    fields = dict(zip(names, layer.in_shape, strict=True))
    fields["kernel_height"], fields["kernel_width"] = window.kernel
    fields["stride_y"], fields["stride_x"] = window.stride
    fields["padding_y"], fields["padding_x"] = window.padding
    fields["out_height"], fields["out_width"], _ = layer.out_shape
    return fields


def _drive(drive: ProgramDrive | None, channels: int) -> Drive:
    gain = np.ones(1, np.int32) if drive is None else drive.gain
    padding = np.zeros((1, channels), np.uint8) if drive is None else drive.padding
    padded = np.any(padding, axis=1, keepdims=True).ravel()
    return Drive(
        steps=len(gain),
        gains=fixed(gain.astype(np.int64)),
        paddings=fixed(padding.astype(np.int16).ravel()),
        padded=fixed(padded.astype(np.uint8)),
    )


def _leak_fields(lif: Lif) -> dict[str, int]:
    """With the leak q in 65536ths, ``floor(v * q / 65536)``; where q is no int16,
    ``v + floor(v * (q - 65536) / 65536)``."""
    multiplier = lif.leak_q << (FINE_LEAK_BITS - lif.leak_bits)
    nearest = {"leak_nearest": -1 if lif.leak_rounding == "nearest" else 0}
    if multiplier <= INT16_MAX:
        return {"leak_multiplier": multiplier, "leak_whole": 0, **nearest}
    return {"leak_multiplier": multiplier - (1 << 16), "leak_whole": -1, **nearest}


def _record(kind: np.dtype[Any], fields: Mapping[str, int]) -> NDArray[Any]:
    record = np.zeros((), kind)
    for name, value in fields.items():
        record[name] = value
    return record


def _records(records: Sequence[NDArray[Any]], kind: np.dtype[Any]) -> NDArray[Any]:
    return fixed(np.array(records, kind))
