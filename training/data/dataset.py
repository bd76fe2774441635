"""A data set on disk: two splits of uint8 arrays whose sha256 is known.

Arrays must be the published ones, from whatever archive they were decoded: images
``[N, H, W, C]``, labels ``[N]``. Each set has a folder of its own under the data root.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikeserve.training.data.archives import unpacked
from spikeserve.training.errors import DataError

Pixels = NDArray[np.uint8]
Arrays = dict[str, Pixels]
"""``train_images``, ``train_labels``, ``test_images`` and ``test_labels``."""


@dataclass(frozen=True)
class Split:
    """Images ``[N, H, W, C]`` and labels ``[N]``, both uint8."""

    images: Pixels
    labels: Pixels

    def __len__(self) -> int:
        return len(self.labels)

    def head(self, fraction: float) -> Split:
        """The first ``fraction`` of the split, at least one image."""
        count = max(1, round(len(self) * fraction))
        return Split(self.images[:count], self.labels[:count])


def held_out(train: Split, count: int, seed: int) -> tuple[Split, Split]:
    """Training images to fit on, and ``count`` others to calibrate on.

    Raises:
        DataError: there are no more than ``count`` images.
    """
    if count >= len(train):
        raise DataError(f"{count:,} of {len(train):,} training images cannot be held out")
    order = np.random.default_rng(seed).permutation(len(train))
    fit, rest = order[:-count], order[-count:]
    return (
        Split(train.images[fit], train.labels[fit]),
        Split(train.images[rest], train.labels[rest]),
    )


@dataclass(frozen=True)
class Dataset:
    """A data set's names, hashes, archives and their layouts."""

    name: str
    title: str
    citation: str
    labels: tuple[str, ...]
    sha256: dict[str, str]
    decoders: tuple[Callable[[Path], Arrays | None], ...]
    """Each reads one layout of an unpacked archive, and returns None for other layouts."""
    download: Callable[[Path], Path]
    """Fetches an archive into a folder and returns its path."""

    def train(self, root: Path) -> Split:
        """The training images."""
        return self._load(root / self.name, "train")

    def test(self, root: Path) -> Split:
        """The test images. Nothing that trains, quantises or calibrates reads them."""
        return self._load(root / self.name, "test")

    def fetch(self, root: Path, source: Path | None) -> bool:
        """Decode, verify and store the set under ``root``; False if it was stored before.

        Args:
            source: an archive or folder in a known layout; without it, one is downloaded.

        Raises:
            DataError: nothing usable at ``source``, the download failed, or the arrays are
                not this set's.
        """
        folder = root / self.name
        folder.mkdir(parents=True, exist_ok=True)
        if all(self._stored(folder, name) is not None for name in self.sha256):
            return False
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            archive = source or self.download(folder)
            try:
                arrays = self._decoded(unpacked(archive, Path(scratch)), str(archive))
            except DataError as error:
                if source is None:
                    raise DataError(f"{error}; delete {archive} and retry") from error
                raise
            for name, array in arrays.items():
                found = _sha256(array)
                if found != self.sha256[name]:
                    raise DataError(
                        f"{name} decode to sha256 {found}, not {self.title}'s {self.sha256[name]}"
                    )
                partial = folder / f"{name}.partial.npy"
                np.save(partial, array)
                partial.rename(folder / f"{name}.npy")
        return True

    def _decoded(self, folder: Path, source: str) -> Arrays:
        try:
            arrays = next(filter(None, (decode(folder) for decode in self.decoders)), None)
        except (OSError, ValueError, KeyError) as error:  # as zipfile, json, numpy, Pillow raise
            raise DataError(f"{source}: {self.title} cannot be read: {error}") from error
        if arrays is None:
            raise DataError(f"{source}: no known layout of {self.title}")
        return arrays

    def _load(self, folder: Path, split: str) -> Split:
        arrays, again = [], f"run: spiketrain data {self.name} --data {folder.parent}"
        for part in ("images", "labels"):
            name = f"{split}_{part}"
            if not (folder / f"{name}.npy").exists():
                raise DataError(f"{folder} has no {name}.npy; {again}")
            array = self._stored(folder, name)
            if array is None:
                raise DataError(f"{folder}/{name}.npy is damaged; {again}")
            arrays.append(array)
        return Split(*arrays)

    def _stored(self, folder: Path, name: str) -> Pixels | None:
        """The array ``name`` if its sha256 is the published one; None if missing or damaged."""
        try:
            array: Pixels = np.load(folder / f"{name}.npy", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return array if _sha256(array) == self.sha256[name] else None


def _sha256(array: Pixels) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()
