"""Arrays from files that strangers wrote: never unpickled."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeserve.importing.errors import ImportRefused

MOST_BYTES = 8 << 30


def array_of(path: Path, names: Sequence[str]) -> NDArray[Any]:
    """The array in an ``.npy`` file, or that of the first of ``names`` in an ``.npz`` file.

    Raises:
        ImportRefused: there is none, it is damaged, too large, or of Python objects.
    """
    return arrays_of(path, names)[1]


def arrays_of(path: Path, names: Sequence[str]) -> tuple[str, NDArray[Any]]:
    """As :func:`array_of`, with its name; that of an ``.npy`` file is empty."""
    try:
        with path.open("rb") as file:
            beginning = file.read(6)
        if beginning.startswith(b"PK"):
            return _member(path, names)
        if beginning != b"\x93NUMPY":
            raise ImportRefused(f"{path} is no .npy or .npz file")
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ImportRefused:
        raise
    except FileNotFoundError as error:
        raise ImportRefused(f"{path} does not exist") from error
    except OSError as error:
        raise ImportRefused(f"{path} cannot be read: {error}") from error
    except (ValueError, EOFError, zipfile.BadZipFile, SyntaxError) as error:
        raise ImportRefused(f"{path} cannot be read: {_reason(error)}") from error
    return "", _bounded(path, array)


def names_in(path: Path) -> tuple[str, ...]:
    """Of the arrays in an ``.npz`` file."""
    with zipfile.ZipFile(path) as archive:
        return tuple(name.removesuffix(".npy") for name in archive.namelist())


def _member(path: Path, names: Sequence[str]) -> tuple[str, NDArray[Any]]:
    with zipfile.ZipFile(path) as archive:
        sizes = {info.filename.removesuffix(".npy"): info.file_size for info in archive.infolist()}
    found = [name for name in names if name in sizes] or (list(sizes) if len(sizes) == 1 else [])
    if not found:
        raise ImportRefused(
            f"{path} has {', '.join(sorted(sizes)) or 'nothing'}; one of {', '.join(names)} is "
            "expected"
        )
    if sizes[found[0]] > MOST_BYTES:
        raise ImportRefused(f"{path}: {found[0]} unpacks to {sizes[found[0]]:,} bytes, too many")
    with np.load(path, allow_pickle=False) as archive:
        return found[0], archive[found[0]]


def _bounded(path: Path, array: NDArray[Any]) -> NDArray[Any]:
    if array.nbytes > MOST_BYTES:
        raise ImportRefused(f"{path} holds {array.nbytes:,} bytes, too many; take fewer inputs")
    return array


def _reason(error: Exception) -> str:
    if "pickle" in str(error).lower() or "object" in str(error).lower():
        return "it holds Python objects, not numbers; save a plain array (numpy.stack)"
    return str(error) or "it is damaged"


def sha256_of(path: Path) -> str:
    """Of a file, or of all files below a folder with their names."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        if file != path:
            digest.update(str(file.relative_to(path)).encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
