"""What kernels take, by name: numba's types follow from what is declared here, and only here.

height, width, channels   of the map that is read      stride_y, padding_x: down, across
lanes                     output channels in whole mask words, 64 a word
*_at                      where a record's own numbers begin in an array that all records share
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple, get_type_hints

import numpy as np
from numba import typeof, types
from numba.np.numpy_support import from_dtype
from numpy.typing import DTypeLike, NDArray

WORD = 64  # neurons whose spikes share one mask word
BLOCK = 128  # lanes whose sums stay in registers
ABSENT = -1  # the place of what is not there


def _record(*fields: tuple[str, str]) -> np.dtype[Any]:
    """Names of the same type, and that type."""
    return np.dtype([(name, kind) for names, kind in fields for name in names.split()], align=True)


WINDOW = (
    "height width channels kernel_height kernel_width stride_y stride_x padding_y padding_x "
    "out_height out_width"
)
LAYER = _record(
    (WINDOW, "i8"),
    ("shift lanes", "i8"),
    ("first_part last_part", "i8"),  # one past the last, as everywhere
    ("depthwise_at", "i8"),  # weights, one a channel and place of the window; or ABSENT
    ("source_at", "i8"),  # in the masks it reads: a shortcut's source has a place among others
    ("coverage_at", "i8"),
    ("column", "i8"),  # among the network's synaptic layers; ABSENT: there is no such layer
    ("most_spikes", "i8"),  # up to which inputs that count them become events; ABSENT: never
    ("largest_pairs", "i8"),  # that an input makes with a window: 1, or as many as it counts
    ("whole", "u1"),  # its one part counts the active pairs while it sums
    ("analog", "u1"),  # inputs may be other than 0 and 1
    ("wide", "u1"),  # weights are int16
)
"""A layer with weights: its geometry and where its numbers lie."""
PART = _record(
    ("first_channel channels", "i8"),  # that it reads
    ("first_lane lanes", "i8"),  # that it makes
    ("rows", "i8"),  # weight rows: places of the window times channels
    ("read_at", "i8"),  # in read_masks, for the map's first word
    ("first_word last_word", "i8"),  # mask words of a pixel that hold its channels
    ("event_at analog_at", "i8"),
    ("safe_events", "i8"),  # a window with more of them may sum up to more than int16 holds
)
"""Lanes of a layer that read the same input channels. Only grouped layers have several."""
NEURONS = _record(
    ("height width channels lanes", "i8"),
    ("lanes_at", "i8"),  # in thresholds, reset_by, initial, minima and, per word, never_fires
    ("bias_at bias_steps", "i8"),  # in biases: so many rows of lanes, one a timestep
    ("membranes_at words_at", "i8"),
    ("saved_at", "i8"),  # in saved_masks, where a shortcut reads these spikes; or ABSENT
    ("first_pool last_pool", "i8"),
    ("once", "u8"),  # all bits where neurons fire once, else none
    ("max_spikes", "i2"),
    ("leak_multiplier leak_whole", "i2"),
    ("leak_nearest soft", "i2"),  # all bits where leaks round to nearest, where resets are soft
    ("plain", "u1"),  # leaks are rounded down, and no potential has a minimum
)
"""The neurons behind a layer, and the pools behind them."""
POOL = _record((WINDOW, "i8"), ("saved_at", "i8"), ("summed", "u1"))


def read(dtype: DTypeLike, dimensions: int = 1) -> Any:
    """numba's type of an array that kernels only read."""
    return types.Array(from_dtype(np.dtype(dtype)), dimensions, "C", readonly=True)


def written(dtype: DTypeLike, dimensions: int = 1) -> Any:
    return types.Array(from_dtype(np.dtype(dtype)), dimensions, "C")


class Weights(NamedTuple):
    """All layers' weights, in the four forms that inner loops read (see ``packing``)."""

    event: Annotated[NDArray[np.int8], read("i1")]
    wide: Annotated[NDArray[np.int16], read("i2")]
    analog: Annotated[NDArray[np.int16], read("i2")]
    depthwise: Annotated[NDArray[np.int16], read("i2")]


class Channels(NamedTuple):
    """One number a lane; one bit in ``never_fires``."""

    biases: Annotated[NDArray[np.int16], read("i2")]
    thresholds: Annotated[NDArray[np.int16], read("i2")]
    reset_by: Annotated[NDArray[np.int16], read("i2")]
    initial: Annotated[NDArray[np.int16], read("i2")]
    minima: Annotated[NDArray[np.int16], read("i2")]
    never_fires: Annotated[NDArray[np.uint64], read("u8")]


class Drive(NamedTuple):
    """What the first layer does to frames, timestep after timestep; the last one stays.

    A program without a drive has one timestep, with a gain of 1 and a padding of 0.
    """

    steps: Annotated[int, types.int64]
    gains: Annotated[NDArray[np.int64], read("i8")]
    paddings: Annotated[NDArray[np.int16], read("i2")]
    """A timestep's begin where the one's before end, a number a channel."""
    padded: Annotated[NDArray[np.uint8], read("u1")]
    """Whether a timestep's padding is other than 0."""


class Tables(NamedTuple):
    """A program. Record k of ``shortcuts`` and ``neurons`` belongs to ``layers[k]``."""

    layers: Annotated[NDArray[Any], read(LAYER)]
    shortcuts: Annotated[NDArray[Any], read(LAYER)]
    parts: Annotated[NDArray[Any], read(PART)]
    neurons: Annotated[NDArray[Any], read(NEURONS)]
    pools: Annotated[NDArray[Any], read(POOL)]
    weights: Weights
    channels: Channels
    drive: Drive
    coverage: Annotated[NDArray[np.int64], read("i8")]
    """How many windows see each input pixel."""
    read_masks: Annotated[NDArray[np.uint64], read("u8")]
    """Which channels a part reads, as bits of a pixel's mask words."""


class Events(NamedTuple):
    """Places of active inputs, ``column * channels + channel``, in reading order.

    Those of pixel i lie between ``pointer[i]`` and ``pointer[i + 1]``.
    """

    places: Annotated[NDArray[np.int32], written("i4")]
    pointer: Annotated[NDArray[np.int32], written("i4")]


class Reading(NamedTuple):
    """How a layer reads its inputs."""

    spiking: bool
    """As masks, else as values."""
    gain: int
    """What a spike counts for; 0 says that the values are analog."""
    analog_gain: int
    """What sums of analog values are multiplied by."""
    padding_at: int
    """In ``Drive.paddings``, what analog values are padded with; ABSENT: with zeros."""
    repeated: bool
    """A value of n is n spikes, each with an event of its own."""


class Maps(NamedTuple):
    """A map between two layers."""

    masks: NDArray[np.uint64]
    """Its spikes, 64 channels a word, pixel after pixel."""
    values: NDArray[np.int32]
    """Its numbers, where they are no spikes."""


class Kept(NamedTuple):
    """What a row keeps of its first layer while its frame stays the same."""

    address: np.uint64
    """Of the active pairs and, a cache line further, the currents; 0: nothing is kept."""
    known: bool
    """They are there, from an earlier timestep."""


class Inputs(NamedTuple):
    """What a part of a layer reads, in the form its inner loop wants."""

    masks: NDArray[np.uint64]
    events: Events
    padded: NDArray[np.int16]


class Scratch(NamedTuple):
    """Working memory of one thread."""

    masks: Annotated[NDArray[np.uint64], written("u8")]
    """The masks of one map, and of another: see ``Maps``."""
    spare_masks: Annotated[NDArray[np.uint64], written("u8")]
    saved_masks: Annotated[NDArray[np.uint64], written("u8")]
    """Spikes that shortcuts will read."""
    values: Annotated[NDArray[np.int32], written("i4")]
    spare_values: Annotated[NDArray[np.int32], written("i4")]
    padded: Annotated[NDArray[np.int16], written("i2")]
    """Analog inputs of a part inside a frame of zeros."""
    events: Events
    shortcut_events: Events
    currents: Annotated[NDArray[np.int16], written("i2")]
    """Sums of one output row, for the lanes of one block."""
    shortcut_currents: Annotated[NDArray[np.int16], written("i2")]
    counts: Annotated[NDArray[np.int16], written("i2")]
    """How often each neuron of a mask word spikes."""


class Rows(NamedTuple):
    """What one call steps, and where the answers go."""

    counter: Annotated[NDArray[np.int64], written("i8")]
    """The next row that nobody has claimed, ``[1]``."""
    frames: Annotated[NDArray[np.uint8], read("u1", 2)]
    done: Annotated[NDArray[np.int64], read("i8")]
    """Timesteps that the rows have done."""
    before: Annotated[NDArray[np.uint64], read("u8")]
    """Addresses of the rows' memory; 0 is a row's first step."""
    after: Annotated[NDArray[np.uint64], read("u8")]
    kept: Annotated[NDArray[np.uint64], read("u8")]
    """``Kept.address`` of every row."""
    known: Annotated[NDArray[np.uint8], read("u1")]
    logits: Annotated[NDArray[np.int32], written("i4", 2)]
    active_pairs: Annotated[NDArray[np.int64], written("i8", 2)]
    spikes: Annotated[NDArray[np.int64], written("i8", 2)]


class Memory(NamedTuple):
    """A row's membranes and its fired flags, 64 a word, before and after a step."""

    fresh: bool
    """What lies in ``old`` means nothing: this is the row's first step."""
    old: NDArray[np.int16]
    old_fired: NDArray[np.uint64]
    new: NDArray[np.int16]
    new_fired: NDArray[np.uint64]


def compiled_type(kind: type[Any]) -> Any:
    """numba's type of a NamedTuple declared above."""
    declared = get_type_hints(kind, include_extras=True).values()
    kinds = [
        hint.__metadata__[0] if hasattr(hint, "__metadata__") else compiled_type(hint)
        for hint in declared
    ]
    return types.BaseTuple.from_types(kinds, kind)


def check_types(arguments: tuple[Any, ...]) -> None:
    """Refuse a NamedTuple whose arrays are not what kernels were compiled for.

    Raises:
        TypeError: some array has another dtype, dimension or order, or should be read-only.
    """
    declared, given = compiled_type(type(arguments)), typeof(arguments)
    if declared != given:
        raise TypeError(f"{given} where kernels take {declared}")
