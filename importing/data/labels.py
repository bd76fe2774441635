"""Which class each input belongs to, from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeserve.importing.data.arrays import array_of
from spikeserve.importing.errors import ImportRefused

Labels = NDArray[np.uint16]


def labels_from(path: Path, inputs: int, classes: int) -> Labels:
    """Labels ``[N]`` from an ``.npy``, ``.npz`` (``labels``) or text file, one a line.

    Raises:
        ImportRefused: they do not fit ``inputs`` and ``classes``; says how.
    """
    return checked(_read(path), inputs, classes, str(path))


def checked(values: NDArray[Any], inputs: int, classes: int, path: str) -> Labels:
    """``values`` as labels of so many inputs and classes."""
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2 and values.shape[1] == classes and set(np.unique(values)) <= {0, 1}:
        if not (values.sum(axis=1) == 1).all():
            raise ImportRefused(f"{path}: every row of one-hot labels must have one 1")
        values = values.argmax(axis=1)
    if values.ndim != 1:
        raise ImportRefused(f"{path}: labels must be one number an input, not {values.shape}")
    if len(values) != inputs:
        raise ImportRefused(f"{path}: {len(values)} labels for {inputs} inputs")
    if values.dtype.kind not in "iuf" or not np.isfinite(values.astype(np.float64)).all():
        raise ImportRefused(f"{path}: labels must be whole numbers, not {values.dtype}")
    if (values != np.round(values)).any():
        raise ImportRefused(f"{path}: labels must be whole numbers; {values[0]} is none")
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= classes:
        from_one = " (do they count from 1?)" if low == 1 and high == classes else ""
        raise ImportRefused(
            f"{path}: labels from {low} to {high}, but the network has {classes} classes, 0 to "
            f"{classes - 1}{from_one}"
        )
    return values.astype(np.uint16)


def _read(path: Path) -> NDArray[Any]:
    if path.suffix not in (".txt", ".csv"):
        return array_of(path, ("labels", "label", "targets", "y"))
    try:
        return np.array([int(line) for line in path.read_text(encoding="utf-8").split()])
    except OSError as error:
        raise ImportRefused(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ImportRefused(f"{path}: one whole number a line is expected: {error}") from error


def class_names(path: Path | None, classes: int, found: tuple[str, ...] | None) -> tuple[str, ...]:
    """Names of the classes: a line each of ``path``, else those ``found``, else numbers."""
    if path is None:
        return found or tuple(str(k) for k in range(classes))
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ImportRefused(f"{path} cannot be read as text: {error}") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if len(names) != classes:
        raise ImportRefused(f"{path}: {len(names)} names for {classes} classes; one a line")
    if len(set(names)) != len(names):
        raise ImportRefused(f"{path}: two classes have the same name")
    return names
