"""The kernels as machine code for this processor, compiled once and kept on disk."""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from numba import types
from numba.np.numpy_support import from_dtype
from numpy.typing import DTypeLike

from models.engines.kernels.layout import LAYER, POOL
from models.engines.kernels.network import step_rows

CACHE_VARIABLE = "SPIKESERVE_KERNEL_CACHE"


def _read(dtype: DTypeLike, dimensions: int = 1) -> Any:
    return types.Array(from_dtype(np.dtype(dtype)), dimensions, "C", readonly=True)


def _written(dtype: DTypeLike, dimensions: int = 1) -> Any:
    return types.Array(from_dtype(np.dtype(dtype)), dimensions, "C")


def _signature() -> Any:
    """Types of the arguments of ``step_rows``, in its order."""
    rows = (
        _written("i8"),  # counter
        _read("u1", 2),  # frames
        _read("u1"),  # ages
        _read("i2", 2),  # old membranes
        _read("u8", 2),  # old fired flags
        _written("i2", 2),  # new membranes
        _written("u8", 2),  # new fired flags
        _written("i4", 2),  # logits
        _written("i8", 2),  # active pairs
        _written("i8", 2),  # spikes
    )
    tables = (
        _read(LAYER),
        _read(POOL),
        _read("i1"),  # packed weights
        _read("i2"),  # paired weights
        _read("i2"),  # biases
        _read("i2"),  # thresholds
        _read("u8"),  # silent channels
        _read("i8"),  # coverage
    )
    scratch = (
        _written("i2"),  # currents
        _written("u8"),  # masks
        _written("i4"),  # events
        _written("i4"),  # pointer
        _written("i4"),  # values
        _written("i2"),  # padded
    )
    return types.void(*rows, *tables, *scratch)


@functools.cache
def step_kernel() -> Callable[..., None]:
    """``step_rows``, compiled for this processor or read from the cache."""
    folder = cache_folder()
    cold = not any(folder.rglob("*.nbi"))
    started = time.perf_counter()
    if cold:
        processor = llvmlite.binding.get_host_cpu_name()
        print(f"event engine: compiling kernels for {processor} …", file=sys.stderr, flush=True)
    with _numba_cache(folder):
        kernel: Callable[..., None] = numba.njit(_signature(), nogil=True, cache=True)(step_rows)
    if cold:
        seconds = time.perf_counter() - started
        print(f"event engine: compiled in {seconds:.1f} s, kept in {folder}", file=sys.stderr)
    return kernel


@contextmanager
def _numba_cache(folder: Path) -> Iterator[None]:
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(folder)
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


def cache_folder() -> Path:
    """Where compiled kernels lie: a folder for exactly these sources, writable by us alone.

    ``$SPIKESERVE_KERNEL_CACHE``, or ``spikeserve/kernels`` in the user's cache folder. numba
    reads its index with pickle, so a folder that somebody else may write is never used;
    where none can be had, kernels live in a private temporary folder for this process.
    """
    try:
        folder = _cache_root() / _sources_digest()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _private(folder) and os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):  # read-only, or a user without a home
        pass
    return _temporary_folder()


def _cache_root() -> Path:
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "spikeserve" / "kernels"


@functools.cache
def _temporary_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="spikeserve-kernels-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _private(folder: Path) -> bool:
    if not hasattr(os, "getuid"):  # Windows: the profile folder is the user's own
        return True
    status = folder.stat()
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _sources_digest() -> str:
    """numba looks only at the file of the outermost function; a kernel is more than that."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
