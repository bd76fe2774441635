"""Memory that is freed stays with the process: a training step needs as much again at once.

glibc gives large blocks back to the kernel whenever they are freed, and every page of the next one
has to be mapped and cleared anew: some hundred thousand page faults a step (docs/LOG.md).
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # glibc's malloc.h
MOST = 2**31 - 1  # the numbers are C ints
AHEAD = 1 << 28  # bytes taken from the kernel at a time


def keep_freed_memory() -> None:
    """Tell the C library; does nothing where it is not glibc."""
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        if not hasattr(library, "gnu_get_libc_version"):
            return
        for option, value in ((MMAP_MAX, 0), (TRIM_THRESHOLD, MOST), (TOP_PAD, AHEAD)):
            library.mallopt(option, value)
