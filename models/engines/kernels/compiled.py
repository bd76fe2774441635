"""The kernels as machine code for this processor, compiled once and kept on disk."""

from __future__ import annotations

import functools
import hashlib
import logging
import mmap
import os
import shutil
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
from numba import types

from spikeserve.models.engines.kernels import SHARED_VARIABLE
from spikeserve.models.engines.kernels.arguments import Rows, Scratch, Tables, compiled_type
from spikeserve.models.engines.kernels.step import step_rows
from spikeserve.models.errors import EngineUnavailable

logger = logging.getLogger("spikeserve")

CACHE_VARIABLE = "NUMBA_CACHE_DIR"
CHECKSUM = "sha256"

_compiling = threading.Lock()


def _signature() -> Any:
    return types.void(*map(compiled_type, (Rows, Tables, Scratch)))


@functools.cache
def _step_kernel() -> Callable[..., None]:
    _check_executable_memory()
    folder = cache_folder()
    if folder is None:
        return _compiled(None)
    if (kernel := _kept(folder)) is not None:
        return kernel
    with _alone(folder):
        if (kernel := _kept(folder)) is not None:  # another process was first
            return kernel
        _emptied(folder)
        return _compiled(folder)


def _kept(folder: Path) -> Callable[..., None] | None:
    """The kernel that lies in ``folder``, if it is whole."""
    if not _intact(folder):
        return None
    try:
        return _cached(folder)
    except Exception as error:  # whatever reading somebody else's pickle raises
        logger.warning("kernel cache %s cannot be used: %s", folder, error)
        return None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Of processes that start together one compiles, for a core apiece would take as long and a
    share of one many times as long. The lock ends with whoever holds it, however that ends."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("event engine: waiting for a process that compiles …", file=sys.stderr)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:  # a file system without locks
            logger.warning("kernel cache %s cannot be locked: %s", folder, error)
        yield
    finally:
        os.close(descriptor)


def step_kernel() -> Callable[..., None]:
    """``step_rows``, compiled for this processor or read from the cache.

    It trusts its arguments: ``check_types`` tells whether they are what was compiled for.

    Raises:
        EngineUnavailable: this system lets no process make machine code.
    """
    with _compiling:
        return _step_kernel()


def _compiled(folder: Path | None) -> Callable[..., None]:
    started = time.perf_counter()
    processor = llvmlite.binding.get_host_cpu_name()
    print(f"event engine: compiling kernels for {processor}, once …", file=sys.stderr, flush=True)
    kept = f"for this process only: no folder that we alone can write, set {CACHE_VARIABLE}"
    kernel: Callable[..., None] | None = None
    if folder is not None:
        try:
            kernel = _cached(folder)
            (folder / CHECKSUM).write_text(_digest(folder))
            kept = f"kept in {folder}"
        except Exception as error:  # a full disk, or a folder that vanished
            kept = f"for this process only: {error}"
    kernel = kernel or _entry(numba.njit(_signature(), nogil=True)(step_rows))
    seconds = time.perf_counter() - started
    print(f"event engine: compiled in {seconds:.1f} s, {kept}", file=sys.stderr)
    return kernel


def _cached(folder: Path) -> Callable[..., None]:
    """Compiled through numba's cache in ``folder``: read from there, or written to it."""
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(folder)
    try:
        return _entry(numba.njit(_signature(), nogil=True, cache=True)(step_rows))
    finally:
        numba.config.CACHE_DIR = before


def _entry(dispatcher: Any) -> Callable[..., None]:
    """The one compiled function. numba's dispatcher in front of it would look at the type of
    every array anew: 8 µs a call. Tables and scratch are checked when they are made, and a step's
    arrays have their types by construction."""
    (compiled,) = dispatcher.overloads.values()
    entry: Callable[..., None] = compiled.entry_point
    return entry


def _intact(folder: Path) -> bool:
    """Whether the files are those that were written: numba would run damaged machine code."""
    try:
        return (folder / CHECKSUM).read_bytes() == _digest(folder).encode()
    except OSError:
        return False


def _emptied(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.nb[ic]")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _check_executable_memory() -> None:
    """Kernels would crash where memory may never become code (MemoryDenyWriteExecute)."""
    if sys.platform != "linux":
        return
    protection = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    try:
        mmap.mmap(-1, mmap.PAGESIZE, prot=protection).close()
    except OSError as error:
        raise EngineUnavailable(
            f"the event engine compiles machine code, which this system forbids ({error})"
        ) from error


def cache_folder() -> Path | None:
    """Where compiled kernels lie: a folder for exactly these sources and this processor.

    Below ``$NUMBA_CACHE_DIR``, or ``spikeserve/kernels`` in the user's cache folder. numba
    reads its index with pickle, so a folder that somebody else may write is never used. Where no
    private one can be had, what a supervisor lends its processes; None without one.
    """
    shared = os.environ.get(SHARED_VARIABLE)
    return _made(_cache_root) or (_made(lambda: Path(shared) / "kernels") if shared else None)


def _made(root: Callable[[], Path]) -> Path | None:
    """The folder below ``root``, made if it is not there; None if it cannot be or is not ours."""
    try:
        folder = root() / _key()
        for path in reversed([folder, *folder.parents]):
            if not path.exists():
                path.mkdir(mode=0o700)
        return folder if _private(folder, 0o077) and _private(folder.parent, 0o022) else None
    except (OSError, RuntimeError):  # read-only, or a user without a home
        return None


def _cache_root() -> Path:
    if chosen := os.environ.get(CACHE_VARIABLE):
        return _own(Path(chosen).absolute())
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    if not caches.parent.is_dir():
        raise FileNotFoundError(f"{caches.parent} does not exist")
    return caches.absolute() / "spikeserve" / "kernels"


def _own(folder: Path) -> Path:
    """``folder``, or one below it that is ours where it is somebody else's: the place where a
    volume is mounted is root's."""
    if not hasattr(os, "getuid") or not folder.exists() or folder.stat().st_uid == os.getuid():
        return folder
    return folder / f"user-{os.getuid()}"


def _private(folder: Path, forbidden: int) -> bool:
    """A folder of ours, no link, without the forbidden permissions for others."""
    if not hasattr(os, "getuid"):  # Windows: the profile folder is the user's own
        return True
    status = folder.lstat()
    ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    return ours and not status.st_mode & forbidden and os.access(folder, os.W_OK)


def _key() -> str:
    """All that decides what the machine code looks like; numba's own index knows less of it."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    facts = (
        str(Path(__file__).parent),  # numba keeps one folder for each
        sys.version,
        numba.__version__,
        llvmlite.__version__,
        numba.config.CPU_NAME or llvmlite.binding.get_host_cpu_name(),
        numba.config.CPU_FEATURES or llvmlite.binding.get_host_cpu_features().flatten(),
    )
    digest = hashlib.sha256(repr(facts).encode())
    for path in sources:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
