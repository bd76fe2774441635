"""Where rows keep their membranes between timesteps: one piece of memory a row, used again.

A state names pieces of memory instead of holding arrays, so taking rows out of a batch and
joining others to it copies nothing, and a new row needs no memory at all before its first
step. Pieces go back to their pool when no state names them any more; the one given back
last is taken first, since it is the one the caches still hold.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

CACHE_LINE = 64


@intrinsic
def pointer_to(_typing: Any, address: Any) -> Any:
    """An address as a pointer, for ``numba.carray``."""

    def convert(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), convert


class RowMemory:
    """One row's membranes and, after them, its fired flags."""

    __slots__ = ("_bytes", "address", "pool")

    def __init__(self, pool: MemoryPool, memory: NDArray[np.uint8]) -> None:
        self.pool = pool
        self._bytes = memory
        self.address: int = -(-memory.ctypes.data // CACHE_LINE) * CACHE_LINE

    def __del__(self) -> None:
        self.pool.free.append(self._bytes)


class MemoryPool:
    """Memory for the rows of one engine."""

    def __init__(self, neurons: int, words: int) -> None:
        self._size = neurons * 2 + words * 8 + CACHE_LINE
        self.free: deque[NDArray[np.uint8]] = deque()

    def take(self) -> RowMemory:
        """A piece that no state names; what is in it is left over."""
        try:
            return RowMemory(self, self.free.pop())
        except IndexError:
            return RowMemory(self, np.empty(self._size, np.uint8))
