"""Photographs in folders, one a class, as the service would see them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikeserve.importing.data.labels import Labels
from spikeserve.importing.errors import ImportRefused
from spikeserve.models.errors import InvalidImage
from spikeserve.models.layers import Shape
from spikeserve.models.preprocessing import pixels

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
SHOWN = 3


def images_in(
    folder: Path, shape: Shape, classes: int, limit: int
) -> tuple[NDArray[np.uint8], Labels, tuple[str, ...]]:
    """Images ``[N, H, W, C]``, labels and class names of a folder of class folders.

    Raises:
        ImportRefused: there are not as many folders as classes, or an image cannot be read.
    """
    if shape[2] not in (1, 3):
        raise ImportRefused(f"{folder}: images for a network of {shape[2]} channels; give an array")
    names = sorted(
        entry.name
        for entry in os.scandir(folder)
        if entry.is_dir() and not entry.name.startswith(".")
    )
    if len(names) != classes:
        raise ImportRefused(
            f"{folder} has {len(names)} folders of images, but the network has {classes} classes; "
            "their order by name must be that of the classes"
        )
    files = [
        (path, label)
        for label, name in enumerate(names)
        for path in sorted((folder / name).iterdir())
        if path.suffix.lower() in SUFFIXES and path.is_file()
    ]
    if not files:
        raise ImportRefused(f"{folder}: no images in its folders ({', '.join(SUFFIXES)})")
    if len(files) > limit:
        files = [files[k] for k in np.linspace(0, len(files) - 1, limit).astype(int)]
    images, wrong = [], []
    for path, _ in files:
        try:
            images.append(pixels(path, shape))
        except (InvalidImage, OSError) as error:
            wrong.append(f"{path}: {error}")
    if wrong:
        more = f" (and {len(wrong) - SHOWN} more)" if len(wrong) > SHOWN else ""
        raise ImportRefused("; ".join(wrong[:SHOWN]) + more)
    labels = np.array([label for _, label in files], np.uint16)
    return np.stack(images), labels, tuple(names)
