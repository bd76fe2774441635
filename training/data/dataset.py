"""A data set on disk: two splits of uint8 arrays whose sha256 is known.

Arrays must be those that are expected, from whatever archive or folder they were made: images
``[N, H, W, C]``, labels ``[N]``. Each set has a folder of its own under the data root. Images that
would crowd memory stay on disk, mapped to memory, and nothing here copies them.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeserve.training.data.archives import unpacked
from spikeserve.training.errors import DataError

Pixels = NDArray[np.uint8]
Labels = NDArray[np.unsignedinteger[Any]]
Arrays = dict[str, Pixels]
"""``train_images``, ``train_labels``, ``test_images`` and ``test_labels``."""
HASHED_BYTES = 1 << 26
LARGEST_COPY = 1 << 30
"""Bytes of an array that is read into memory as a whole."""


@dataclass(frozen=True)
class Split:
    """Images ``[N, H, W, C]`` uint8 and labels ``[N]``, uint8 or uint16."""

    images: Pixels
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def head(self, fraction: float) -> Split:
        """The first ``fraction`` of the split, at least one image."""
        count = max(1, round(len(self) * fraction))
        return self.part(slice(count))

    def part(self, which: slice | NDArray[np.int64]) -> Split:
        """Some of its images: of a slice no copies."""
        return Split(self.images[which], self.labels[which])


def held_out(train: Split, count: int, seed: int) -> tuple[Split, Split]:
    """Training images to fit on, and ``count`` others to calibrate on.

    They are drawn by ``seed``; of images that are not in memory the last are taken, since such sets
    are stored in an order that was drawn.

    Raises:
        DataError: there are no more than ``count`` images.
    """
    if count >= len(train):
        raise DataError(f"{count:,} of {len(train):,} training images cannot be held out")
    if isinstance(train.images, np.memmap):
        return train.part(slice(-count)), train.part(slice(-count, None))
    order = np.random.default_rng(seed).permutation(len(train))
    return train.part(order[:-count]), train.part(order[-count:])


@dataclass(frozen=True)
class Stored:
    """A set's names and hashes, and its arrays once they are stored."""

    name: str
    title: str
    citation: str
    labels: tuple[str, ...]
    sha256: dict[str, str]

    @property
    def command(self) -> str:
        """What stores it."""
        return f"spiketrain data {self.name}"

    def train(self, root: Path) -> Split:
        """The training images."""
        return self._load(root / self.name, "train")

    def test(self, root: Path) -> Split:
        """The test images. Nothing that trains, quantises or calibrates reads them."""
        return self._load(root / self.name, "test")

    def _load(self, folder: Path, split: str) -> Split:
        arrays: list[Any] = []
        again = f"run: {self.command} --data {folder.parent}"
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
        """The array ``name`` if its sha256 is the expected one; None if missing or damaged.

        Where it is large it stays on disk, mapped to memory.
        """
        try:
            array: Pixels = np.load(folder / f"{name}.npy", mmap_mode="c", allow_pickle=False)
            if array.nbytes <= LARGEST_COPY:
                array = np.array(array)
        except (OSError, ValueError, EOFError):
            return None
        return array if array_sha256(array) == self.sha256[name] else None


@dataclass(frozen=True)
class Dataset(Stored):
    """A published data set: where it comes from, and the layouts of its archives."""

    decoders: tuple[Callable[[Path], Arrays | None], ...]
    """Each reads one layout of an unpacked archive, and returns None for other layouts."""
    download: Callable[[Path], Path]
    """Fetches an archive into a folder and returns its path."""

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
                found = array_sha256(array)
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


def array_sha256(array: NDArray[Any]) -> str:
    """The sha256 of an array's bytes, read in pieces."""
    digest = hashlib.sha256()
    rows = max(1, HASHED_BYTES // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        digest.update(np.ascontiguousarray(array[start : start + rows]).data)
    return digest.hexdigest()
