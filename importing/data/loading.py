"""The user's inputs, from files to what enters the network; says what it noticed.

Images are uint8 in the end, since that is what is served: a grey level is the least difference
that a request can make.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeserve.importing.data.arrays import arrays_of, names_in, sha256_of
from spikeserve.importing.data.folders import images_in
from spikeserve.importing.data.inputs import GREY_LEVELS
from spikeserve.importing.data.labels import Labels, labels_from
from spikeserve.importing.errors import ImportRefused
from spikeserve.models.layers import Shape

NAMES = ("images", "frames", "data", "x")
MOST_INPUTS = 2000
FIRST = 64
"""How many of the first inputs are always taken."""
WHOLE = 1e-6


@dataclass(frozen=True)
class Data:
    """N inputs as uint8 with what is known of them."""

    values: NDArray[np.uint8]
    """Images ``[N, H, W, C]``, or counts of events ``[N, T, H, W, C]``."""
    labels: Labels | None
    class_names: tuple[str, ...] | None
    sha256: str
    notes: list[str] = field(default_factory=list)

    @property
    def counts(self) -> bool:
        return self.values.ndim == 5

    def __len__(self) -> int:
        return len(self.values)


def loaded(
    path: Path,
    labels: Path | None,
    shape: Shape,
    classes: int,
    timesteps: int,
    *,
    layout: str | None = None,
    limit: int = MOST_INPUTS,
) -> Data:
    """Inputs of ``shape [H, W, C]`` and their labels.

    Args:
        layout: ``hwc`` or ``chw``, needed where shapes do not tell.
        limit: how many are taken, evenly over all.

    Raises:
        ImportRefused: they are not what the network takes; says what to do.
    """
    if path.is_dir():
        if labels is not None:
            raise ImportRefused("--labels beside a folder: its folders are the labels")
        images, found, names = images_in(path, shape, classes, limit)
        return Data(images, found, names, sha256_of(path))
    name, array = arrays_of(path, NAMES)
    if array.dtype.kind not in "uifb":
        raise ImportRefused(f"{path}: numbers are expected, not {array.dtype}")
    notes: list[str] = []
    array = arranged(array, shape, name, layout, notes)
    known = _labels(path, labels, len(array), classes, notes)
    chosen = np.arange(len(array))
    if len(array) > limit:
        evenly = np.linspace(0, len(array) - 1, limit).astype(np.int64)
        chosen = np.union1d(np.arange(FIRST), evenly)  # recorded outputs are those of the first
        notes.append(f"takes {len(chosen):,} of {len(array):,} inputs, evenly (--limit)")
    if array.ndim == 5 and array.shape[1] < timesteps:
        raise ImportRefused(
            f"{path}: recordings of {array.shape[1]} frames, but --timesteps {timesteps}"
        )
    if array.ndim == 5 and array.shape[1] > timesteps:
        notes.append(f"takes the first {timesteps} of {array.shape[1]} frames (--timesteps)")
        array = array[:, :timesteps]
    taken = np.ascontiguousarray(array[chosen])
    whole = counts_of(taken, path) if taken.ndim == 5 else pixels_of(taken, path, notes)
    return Data(whole, None if known is None else known[chosen], None, sha256_of(path), notes)


def _labels(
    path: Path, labels: Path | None, inputs: int, classes: int, notes: list[str]
) -> Labels | None:
    """Those of a file of their own, or those beside the inputs in an ``.npz``."""
    if labels is not None:
        return labels_from(labels, inputs, classes)
    if path.suffix != ".npz" or "labels" not in names_in(path):
        return None
    notes.append(f"labels are those in {path.name}")
    return labels_from(path, inputs, classes)


def arranged(
    array: NDArray[Any], shape: Shape, name: str, layout: str | None, notes: list[str]
) -> NDArray[Any]:
    """``[N, …]`` as ``[N, H, W, C]`` or, where there is one more axis, ``[N, T, H, W, C]``.

    Raises:
        ImportRefused: it has neither form, or could have several.
    """
    height, width, channels = shape
    last, first = (height, width, channels), (channels, height, width)
    flat = (height * width * channels,)
    if not array.size:
        raise ImportRefused("there are no inputs")
    forms: list[tuple[str, int]] = []  # which form, and how many axes lead
    for leading in (1, 2):
        rest = array.shape[leading:]
        if rest == last:
            forms.append(("hwc", leading))
        if rest == first and (first != last or channels > 1):
            forms.append(("chw", leading))
        if channels == 1 and rest == (height, width):
            forms.append(("plane", leading))
        if rest == flat:
            forms.append(("flat", leading))
    if name in ("images", "frames"):
        wanted = 1 if name == "images" else 2
        forms = [form for form in forms if form[1] == wanted] or forms
    images = [form for form in forms if form[1] == 1]
    if images and array.shape[1] == 1:  # a recording of one frame is an image
        forms = images
    if layout is not None:
        forms = [form for form in forms if form[0] in (layout, "plane", "flat")]
    if not forms:
        raise ImportRefused(
            f"inputs of shape {array.shape} do not fit the network, which takes images "
            f"[N, {height}, {width}, {channels}] (or [N, {channels}, {height}, {width}]) or frames "
            f"[N, T, {height}, {width}, {channels}] (or [N, T, {channels}, {height}, {width}])"
        )
    if len(forms) > 1:
        raise ImportRefused(
            f"inputs of shape {array.shape} could be {' or '.join(kind for kind, _ in forms)}; say "
            "which: --layout hwc or --layout chw, and name the array images or frames in an .npz"
        )
    form, leading = forms[0]
    lead = array.shape[:leading]
    if form == "chw" or (form == "flat" and channels > 1):
        notes.append("reads channels first")
        return np.moveaxis(array.reshape(*lead, *first), leading, -1)
    return array.reshape(*lead, *last)


def pixels_of(values: NDArray[Any], path: object, notes: list[str]) -> NDArray[np.uint8]:
    """Grey levels 0…255 of images of any type.

    Raises:
        ImportRefused: they are outside, or have been normalised.
    """
    low, high = _range(values, path)
    if low == high:
        raise ImportRefused(f"{path}: all pixels are {low:g}")
    if values.dtype.kind in "uib":
        if low < 0 or high > GREY_LEVELS:
            raise ImportRefused(
                f"{path}: pixels from {low:g} to {high:g}; grey levels 0…255 are expected"
            )
        if high <= 1 < GREY_LEVELS and high > 0:
            raise ImportRefused(
                f"{path}: the largest pixel is {high:g}, where grey levels 0…255 are "
                "expected; were pixels 0…1 cast to whole numbers? Save them times 255"
            )
        return values.astype(np.uint8)
    if low >= 0 and high <= 1:
        grey = np.round(values * GREY_LEVELS)
        off = float(np.abs(values * GREY_LEVELS - grey).max())
        moved = f", moved by up to {off:.2f} grey levels" if off > 0.01 else ""
        notes.append(f"pixels are 0…1: taken times 255{moved}")
        return grey.astype(np.uint8)
    if low >= 0 and high <= GREY_LEVELS:
        if np.abs(values - np.round(values)).max() > WHOLE:
            notes.append("pixels are rounded to whole grey levels")
        return np.round(values).astype(np.uint8)
    raise ImportRefused(
        f"{path}: pixels from {low:g} to {high:g}: they seem to be normalised. Give the pixels "
        "0…255 as they were before, and what was done to them as --mean and --std (of pixels "
        "0…1, a number a channel)"
    )


def counts_of(values: NDArray[Any], path: object) -> NDArray[np.uint8]:
    """Counts of events, 0…255.

    Raises:
        ImportRefused: they are not whole, negative or larger.
    """
    low, high = _range(values, path)
    if low < 0 or high > GREY_LEVELS:
        raise ImportRefused(f"{path}: from {low:g} to {high:g} events; 0…255 are possible")
    if values.dtype.kind == "f" and np.abs(values - np.round(values)).max() > WHOLE:
        raise ImportRefused(
            f"{path}: counts of events must be whole numbers; were the frames normalised?"
        )
    if high == 0:
        raise ImportRefused(f"{path}: all frames are empty")
    return np.round(values).astype(np.uint8)


def _range(values: NDArray[Any], path: object) -> tuple[float, float]:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        where = np.argwhere(~np.isfinite(values))[0]
        raise ImportRefused(f"{path}: input {int(where[0])} has a value that is not finite")
    return float(values.min()), float(values.max())


def floats_of(text: str | None, channels: int, flag: str) -> NDArray[np.float64] | None:
    """Numbers of a flag, one a channel, separated by commas; one stands for all channels."""
    if text is None:
        return None
    try:
        numbers: Sequence[float] = [float(part) for part in text.split(",")]
    except ValueError:
        raise ImportRefused(f"{flag} {text}: numbers separated by commas are expected") from None
    if len(numbers) not in (1, channels) or not np.isfinite(numbers).all():
        raise ImportRefused(f"{flag} {text}: one number, or {channels}, are expected")
    return np.broadcast_to(np.array(numbers, np.float64), (channels,)).copy()
