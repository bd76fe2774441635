"""A folder of pictures made a data set: found, decoded as the service decodes, told apart, split.

Pixels go to disk as they are decoded, so that a set may be larger than memory. The result appears
under its name complete or not at all.
"""

from __future__ import annotations

import datetime
import fcntl
import os
import re
import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from spikeserve.models.containers import container_of
from spikeserve.models.errors import InvalidImage, UnknownFormat
from spikeserve.models.layers import Shape
from spikeserve.models.preprocessing import pixels
from spikeserve.training.data.class_folders import ClassFolders, Found, Picture, printable
from spikeserve.training.data.data_card import MOST_LISTED, DataCard, DrawnSplit, LeftOut
from spikeserve.training.data.dataset import Pixels, array_sha256
from spikeserve.training.data.own import CARD, CARD_TEXT, is_prepared
from spikeserve.training.data.sides import Sides, divided
from spikeserve.training.data.twins import Shapes, digest, shape_of
from spikeserve.training.errors import DataError
from spikeserve.training.stage import NAME

LARGEST_FILE = 1 << 28
TOGETHER = 64  # pictures decoded at a time by each thread
FEW = 5  # pictures of a class
LISTED = 5  # lines about files left out, on the terminal
COPIED_ROWS = 256
ORDER_SEED = 0


@dataclass(frozen=True)
class Decoded:
    """What is left of a file."""

    pixels: Pixels
    shorter_side: int


@dataclass
class Pile:
    """Decoded pictures, in the order found: their pixels on disk, the rest here."""

    path: Path
    shape: Shape
    pictures: list[Picture] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    shapes: list[NDArray[np.uint64]] = field(default_factory=list)
    shorter_sides: list[int] = field(default_factory=list)

    @property
    def images(self) -> Pixels:
        return np.memmap(self.path, np.uint8, "r", shape=(len(self.pictures), *self.shape))

    def stacked(self) -> Shapes:
        return np.stack(self.shapes)


def prepared(
    source: Path,
    root: Path,
    name: str,
    shape: Shape,
    *,
    share: float = 0.2,
    seed: int = 1,
) -> DataCard:
    """Make the pictures below ``source`` the data set ``name`` in ``root``; returns its card.

    Args:
        shape: height, width and channels of the network's input.
        share: of the pictures, to evaluate on, where ``source`` has no splits.

    Raises:
        DataError: no two classes with pictures, or nothing to evaluate on; nothing was written.
    """
    if (root / name).exists() and not is_prepared(root / name):
        raise DataError(f"{root / name} holds something else; pass another --name")
    found = ClassFolders(source).read()
    _check_room(root, shape, len(found.pictures))
    with _scratch(root, name) as scratch:
        pile = _decoded(found, scratch / "pile", shape)
        labels = _labels(found, pile)
        sides = divided(pile.pictures, pile.digests, pile.stacked(), pile.images, share, seed)
        found.left_out |= sides.left_out
        _keep_classes(sides, pile, labels)
        _check_sides(source, sides, labels)
        sha256 = _write(scratch, pile, sides, labels)
        drawn = DrawnSplit(share=share, seed=seed) if sides.drawn else None
        card = _card(name, source, found, pile, sides, labels, sha256, drawn)
        pile.path.unlink()
        (scratch / CARD).write_text(card.model_dump_json(indent=1) + "\n", encoding="utf-8")
        (scratch / CARD_TEXT).write_text(card.text(), encoding="utf-8")
        _put(scratch, root / name)
    return card


def set_name(source: Path) -> str:
    """A name for the set in ``source``.

    Raises:
        DataError: the folder's own name gives none.
    """
    folder = printable(source.resolve().name).lower()
    name = re.sub("[^a-z0-9._-]+", "-", folder).strip("-._")[:100]
    if not re.fullmatch(NAME, name):
        raise DataError(f"no name can be made of {folder!r}; pass --name")
    return name


def photograph(path: Path, shape: Shape) -> Decoded:
    """The picture in a file as the network sees it.

    Raises:
        InvalidImage: there is none; says why.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise InvalidImage(f"cannot be read: {error.strerror}") from error
    if len(data) > LARGEST_FILE:
        raise InvalidImage(f"larger than {LARGEST_FILE >> 20} MiB")
    if not data:
        raise InvalidImage("empty")
    side, unknown = 0, None
    try:
        container = container_of(data)
        side = min(container.width, container.height)
    except UnknownFormat as error:
        unknown = error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about metadata
            return Decoded(pixels(data, shape), side)
    except InvalidImage as error:
        raise unknown or error from error
    except MemoryError as error:
        raise InvalidImage("too large for this machine's memory") from error


def _photograph(path: Path, shape: Shape) -> Decoded | str:
    try:
        return photograph(path, shape)
    except InvalidImage as error:
        return str(error)


def _decoded(found: Found, path: Path, shape: Shape) -> Pile:
    pile, threads = Pile(path, shape), os.cpu_count() or 1
    step = TOGETHER * threads
    with path.open("wb") as file, ThreadPoolExecutor(threads) as pool:
        for start in track(
            range(0, len(found.pictures), step),
            description="decoding",
            transient=True,
            disable=not sys.stdout.isatty(),
        ):
            part = found.pictures[start : start + step]
            results = pool.map(lambda picture: _photograph(picture.path, shape), part)
            for picture, result in zip(part, results, strict=True):
                if isinstance(result, str):
                    found.left_out[picture.place] = result
                    continue
                file.write(result.pixels.tobytes())
                pile.pictures.append(picture)
                pile.digests.append(digest(result.pixels))
                pile.shapes.append(shape_of(result.pixels))
                pile.shorter_sides.append(result.shorter_side)
    return pile


def _labels(found: Found, pile: Pile) -> tuple[str, ...]:
    """Classes of which there are pictures to train on after all.

    Raises:
        DataError: fewer than two.
    """
    readable = {picture.label for picture in pile.pictures if picture.split in ("", "train")}
    for label in found.labels:
        if label not in readable:
            found.notes.append(f"class {label!r} has no picture that can be read, and is left out")
    if len(readable) < 2:
        some = "; ".join(f"{place}: {why}" for place, why in list(found.left_out.items())[:LISTED])
        which = f"only class {min(readable)!r} has" if readable else "no class has"
        raise DataError(f"{which} pictures that can be read; a classifier needs two. {some}")
    return tuple(sorted(readable))


def _keep_classes(sides: Sides, pile: Pile, labels: tuple[str, ...]) -> None:
    """Leave out what is of a class that has nothing to train on; note what has next to nothing."""
    names = set(labels)
    known = np.array([picture.label in names for picture in pile.pictures])
    sides.train, sides.test = sides.train[known[sides.train]], sides.test[known[sides.test]]
    for side, least, lack in (
        (sides.train, FEW, f"fewer than {FEW} pictures to train on"),
        (sides.test, 1, "no picture to evaluate on"),
    ):
        count = Counter(pile.pictures[index].label for index in side)
        few = [label for label in labels if count[label] < least]
        if few:
            named = ", ".join(map(repr, few[:LISTED])) + (" …" if len(few) > LISTED else "")
            sides.notes.append(f"{lack}: {named}")


def _check_sides(source: Path, sides: Sides, labels: tuple[str, ...]) -> None:
    if not len(sides.test):
        raise DataError(
            f"{printable(str(source))}: no picture is left to evaluate on"
            + (f" ({'; '.join(sides.notes)})" if sides.notes else "")
            + "; each class needs two different pictures at least"
        )
    if len(sides.train) < 2 * len(labels):
        raise DataError(
            f"{printable(str(source))}: {len(sides.train)} pictures to train on are too few for "
            f"{len(labels)} classes; give two or more of each"
        )


def _write(scratch: Path, pile: Pile, sides: Sides, labels: tuple[str, ...]) -> dict[str, str]:
    """The four arrays, and their sha256."""
    number = {label: index for index, label in enumerate(labels)}
    order = np.random.default_rng(ORDER_SEED)  # so that any part of a side is a fair one
    kind = np.uint8 if len(labels) <= 256 else np.uint16
    sha256 = {}
    for side, found in (("train", sides.train), ("test", sides.test)):
        index = order.permutation(found)
        values = np.array([number[pile.pictures[i].label] for i in index], kind)
        np.save(scratch / f"{side}_labels.npy", values)
        with (scratch / f"{side}_images.npy").open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (len(index), *pile.shape)}
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, len(index), COPIED_ROWS):
                file.write(pile.images[index[start : start + COPIED_ROWS]].tobytes())
        for part in ("images", "labels"):
            array = np.load(scratch / f"{side}_{part}.npy", mmap_mode="r", allow_pickle=False)
            sha256[f"{side}_{part}"] = array_sha256(array)
    return sha256


def _card(
    name: str,
    source: Path,
    found: Found,
    pile: Pile,
    sides: Sides,
    labels: tuple[str, ...],
    sha256: dict[str, str],
    drawn: DrawnSplit | None,
) -> DataCard:
    train, test = (
        Counter(pile.pictures[index].label for index in side) for side in (sides.train, sides.test)
    )
    shorter = np.sort([side for side in pile.shorter_sides if side] or [0])
    listed = [LeftOut(file=place, why=why) for place, why in found.left_out.items()]
    return DataCard(
        name=name,
        source=printable(str(source.resolve())),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        shape=pile.shape,
        labels=labels,
        counts={
            "train": tuple(train[label] for label in labels),
            "test": tuple(test[label] for label in labels),
        },
        splits=sides.origins,
        drawn=drawn,
        shorter_sides=(int(shorter[0]), int(shorter[len(shorter) // 2]), int(shorter[-1])),
        smaller=int((shorter < min(pile.shape[:2])).sum()),
        left_out=tuple(listed[:MOST_LISTED]),
        left_out_count=len(listed),
        system_files=found.litter,
        notes=(*found.notes, *sides.notes),
        sha256=sha256,
    )


def _check_room(root: Path, shape: Shape, pictures: int) -> None:
    """Refuse what would fill the disk: pixels are there twice for a while."""
    needed = 2 * pictures * shape[0] * shape[1] * shape[2]
    there = next(folder for folder in (root, *root.resolve().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise DataError(
            f"{pictures:,} pictures need {needed >> 20:,} MiB in {there}, which has "
            f"{free >> 20:,}; choose a smaller --size or another --data"
        )


@contextmanager
def _scratch(root: Path, name: str) -> Iterator[Path]:
    """A folder beside the result, gone afterwards unless it became the result."""
    folder = root / f".{name}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise DataError(f"{root} cannot hold data sets: {error.strerror}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(f"another process prepares {name} in {root}") from error
        for rest in folder.iterdir():  # of a process that was killed
            rest.unlink()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _put(scratch: Path, place: Path) -> None:
    """Let the finished folder take its place, and that of an earlier preparation."""
    old = scratch.with_suffix(".former")
    if place.exists():
        place.replace(old)
    scratch.replace(place)
    shutil.rmtree(old, ignore_errors=True)
