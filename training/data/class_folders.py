"""Pictures in class folders, found and told apart from whatever else lies there.

    PATH/ants/1.jpg, PATH/bees/2.png …                      a split is drawn later
    PATH/train/ants/1.jpg …, PATH/val/… and PATH/test/…     the split that is given

Nothing is opened here. Links are followed, but no folder is read twice, so that loops end.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from spikeserve.training.errors import DataError

SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
LITTER = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx"}
"""What systems leave behind, besides names that begin with a dot."""
MOST_CLASSES = 10_000
DEEPEST = 16
EXAMPLES = 3  # that a message names


@dataclass(frozen=True)
class Picture:
    """A file that may be a picture, and what its place says about it."""

    path: Path
    place: str
    """Its path within the folder, fit to be printed."""
    label: str
    split: str
    """``train``, ``val`` or ``test``; empty where the folder has no splits."""


@dataclass
class Found:
    """What lies in a folder."""

    pictures: list[Picture] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    """Places, each with the reason."""
    notes: list[str] = field(default_factory=list)
    litter: int = 0
    """Hidden files and what systems leave behind, which nobody misses."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Classes with something to train on, sorted."""
        return tuple(sorted({p.label for p in self.pictures if p.split in ("", "train")}))


class ClassFolders:
    """One walk through a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.found = Found()
        self._seen: set[tuple[int, int]] = set()
        """Folders that have been read, by device and inode."""

    def read(self) -> Found:
        """Everything below the folder, in the order of names.

        Raises:
            DataError: it holds no class folders, one alone, or more than can be served.
        """
        if not self.root.is_dir():
            raise DataError(
                f"{printable(str(self.root))} is no folder; give the one that holds a folder of "
                "pictures for each class"
            )
        try:
            entries = sorted(self.root.iterdir())
        except OSError as error:
            raise DataError(
                f"{printable(str(self.root))} cannot be read: {error.strerror}"
            ) from error
        self._is_new(self.root)
        splits = self._splits([entry for entry in entries if self._is_folder(entry)])
        for entry in entries:
            if entry not in splits:
                if splits and self._is_folder(entry) and not self._is_litter(entry):
                    self._leave_out(entry, "a folder beside the splits")
                elif splits or not self._is_folder(entry):
                    self._refuse_file(entry)
        for folder, split in splits.items() if splits else [(self.root, "")]:
            self._read_classes(folder, split)
        self._check()
        return self.found

    def _splits(self, folders: list[Path]) -> dict[Path, str]:
        """Which folders are splits: none unless ``train`` holds folders itself."""
        splits: dict[Path, str] = {}
        for folder in folders:
            split = SPLITS.get(folder.name.lower())
            if split is None or not any(self._is_folder(inner) for inner in _entries(folder)):
                continue
            if split in splits.values():
                raise DataError(
                    f"{printable(str(self.root))} has two folders that mean {split}/: keep one"
                )
            splits[folder] = split
        if splits and "train" not in splits.values():
            names = ", ".join(f"{folder.name}/" for folder in splits)
            if len(splits) == len(folders):
                raise DataError(
                    f"{printable(str(self.root))} has {names} and no train/: put the pictures to "
                    "train on there, or give a folder with class folders alone"
                )
            return {}
        return splits

    def _read_classes(self, folder: Path, split: str) -> None:
        entries = sorted(_entries(folder))
        classes = [e for e in entries if self._is_folder(e) and not self._is_litter(e)]
        if split:
            self._is_new(folder)
            for entry in entries:
                if entry not in classes:
                    self._refuse_file(entry)
        if len(classes) > MOST_CLASSES:
            raise DataError(
                f"{printable(str(folder))} holds {len(classes):,} folders, and each would be a "
                f"class; at most {MOST_CLASSES:,} are possible. Give the folder that holds one "
                "folder a class"
            )
        new = [entry for entry in classes if self._is_new(entry)]
        for entry in classes:
            if entry not in new:
                self._leave_out(entry, "a link to a folder that is read already")
        named: dict[str, Path] = {}
        for entry in new:
            label = printable(unicodedata.normalize("NFC", entry.name)).strip()
            if not label or label in named:
                same = f"and {str(named[label])!r} read alike" if label else "has a blank name"
                raise DataError(f"class folder {str(entry)!r} {same}; rename it")
            named[label] = entry
            before = len(self.found.pictures)
            for path in self._files(entry, 0):
                self.found.pictures.append(Picture(path, self._place(path), label, split))
            if len(self.found.pictures) == before:
                self.found.notes.append(f"class folder {self._place(entry)!r} holds no picture")

    def _files(self, folder: Path, depth: int) -> Iterator[Path]:
        """Files below ``folder`` that may be pictures; everything else is left out, and said so."""
        for entry in sorted(_entries(folder, self._leave_out)):
            if self._is_litter(entry):
                self.found.litter += 1
            elif self._is_folder(entry):
                if depth >= DEEPEST:
                    self._leave_out(entry, f"more than {DEEPEST} folders deep")
                elif not self._is_new(entry):
                    self._leave_out(entry, "a link to a folder that is read already")
                else:
                    yield from self._files(entry, depth + 1)
            elif (reason := _unusable(entry)) is not None:
                self._leave_out(entry, reason)
            else:
                yield entry

    def _check(self) -> None:
        labels, root = self.found.labels, printable(str(self.root))
        trained = [p for p in self.found.pictures if p.split in ("", "train")]
        if len(labels) < 2:
            where = f"{root}/train" if any(p.split for p in self.found.pictures) else root
            holds = f"one class with pictures, {labels[0]!r}" if labels else "no class folders"
            deeper = [e for e in _entries(self.root) if self._is_folder(e)] if not trained else []
            raise DataError(
                f"{where} holds {holds}; a classifier needs two or more: a folder of pictures "
                "for each class, named after it"
                + (f" (are they in {printable(deeper[0].name)}/?)" if len(deeper) == 1 else "")
                + _examples(self.found.left_out)
            )
        unknown = sorted({p.label for p in self.found.pictures} - set(labels))
        if unknown:
            raise DataError(
                f"{root}: {_some(unknown)} {'has' if len(unknown) == 1 else 'have'} pictures in "
                f"val/ or test/ and none in train/, which has {_some(labels)}; name classes alike"
            )

    def _place(self, path: Path) -> str:
        return printable(str(path.relative_to(self.root)))

    def _leave_out(self, path: Path, reason: str) -> None:
        self.found.left_out[self._place(path)] = reason

    def _refuse_file(self, path: Path) -> None:
        if self._is_litter(path):
            self.found.litter += 1
        elif not path.is_dir():
            self._leave_out(path, "lies in no class folder")

    def _is_new(self, folder: Path) -> bool:
        status = folder.stat()
        identity = status.st_dev, status.st_ino
        new = identity not in self._seen
        self._seen.add(identity)
        return new

    @staticmethod
    def _is_folder(path: Path) -> bool:
        try:
            return stat.S_ISDIR(path.stat().st_mode)
        except OSError:
            return False

    @staticmethod
    def _is_litter(path: Path) -> bool:
        return path.name.startswith(".") or path.name.lower() in LITTER


def printable(name: str) -> str:
    """A file's name without what a terminal or a JSON file cannot have: ``\\ufffd`` instead."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _entries(folder: Path, refuse: object = None) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        if callable(refuse):
            refuse(folder, f"cannot be read: {error.strerror}")
        return []


def _unusable(path: Path) -> str | None:
    """Why no picture can be in that file, as far as is known without opening it."""
    try:
        status = path.stat()
    except OSError:
        return "a link that leads nowhere" if path.is_symlink() else "cannot be read"
    return None if stat.S_ISREG(status.st_mode) else "no regular file"


def _some(names: list[str] | tuple[str, ...]) -> str:
    shown = ", ".join(map(repr, names[:EXAMPLES]))
    return f"{shown} and {len(names) - EXAMPLES:,} more" if len(names) > EXAMPLES else shown


def _examples(left_out: dict[str, str]) -> str:
    if not left_out:
        return ""
    shown = "; ".join(f"{place}: {why}" for place, why in list(left_out.items())[:EXAMPLES])
    return f". Left out: {shown}" + (" …" if len(left_out) > EXAMPLES else "")
