"""Memory that is freed goes back to the operating system: bodies and pictures come in crowds.

glibc raises the size above which a block is mapped by itself whenever one is freed, up to 32 MB,
and keeps smaller ones, with holes between them, for as long as something lives behind them. After
a crowd of photographs a process would keep a hundred MiB and more. With a fixed size, bodies and
decoded pictures are given back as soon as they are freed, and their beginnings, which are smaller,
when the crowd is over. Does nothing where the C library is not glibc.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from contextlib import suppress

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
LARGE_BYTES = 1 << 20
KEPT_BYTES = 8 << 20
"""What may stay free at the end of the heap: without, it would grow and shrink all the time."""
CROWD_BYTES, CALM_BYTES = 16 << 20, 1 << 20


def return_large_blocks() -> None:
    """From now on, whoever frees a large block gives it back."""
    if library := _glibc():
        library.mallopt(MMAP_THRESHOLD, LARGE_BYTES)
        library.mallopt(TRIM_THRESHOLD, KEPT_BYTES)


def return_free_pages() -> None:
    """Give back what is free now; takes milliseconds, during which others may wait for memory."""
    if library := _glibc():
        library.malloc_trim(0)


class Crowds:
    """Has free pages given back once after every crowd."""

    def __init__(self, give_back: Callable[[], None] = return_free_pages) -> None:
        self._give_back = give_back
        self._crowded = False

    def look(self, held_bytes: int) -> None:
        """To be told now and then what bodies and pictures hold."""
        if held_bytes > CROWD_BYTES:
            self._crowded = True
        elif self._crowded and held_bytes <= CALM_BYTES:
            self._crowded = False
            threading.Thread(target=self._give_back, daemon=True).start()


def _glibc() -> ctypes.CDLL | None:
    with suppress(OSError):
        library = ctypes.CDLL(None)
        return library if hasattr(library, "gnu_get_libc_version") else None
    return None
