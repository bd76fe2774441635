"""Where rows keep their membranes between timesteps: one piece of memory a row, used again.

A state names pieces of memory instead of holding arrays, so taking rows out of a batch and
joining others to it copies nothing, and a new row needs no memory at all before its first
step. Pieces go back to their pool when no state names them any more; the one given back
last is taken first, since it is the one the caches still hold.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

CACHE_LINE = 64

Piece = tuple[NDArray[np.uint8], int]
"""Memory, and the address of its first whole cache line."""


class RowMemory:
    """One row's membranes and, after them, its fired flags, after ``done`` timesteps."""

    __slots__ = ("_piece", "address", "done", "pool")

    def __init__(self, pool: MemoryPool, piece: Piece, done: int) -> None:
        self.pool = pool
        self.done = done
        self._piece = piece
        self.address = piece[1]

    def __del__(self) -> None:
        self.pool.free.append(self._piece)


class MemoryPool:
    """Memory for the rows of one engine."""

    def __init__(self, membranes: int) -> None:
        self._size = membranes * 2 + membranes // 8 + CACHE_LINE
        self.free: deque[Piece] = deque()

    def take(self, done: int) -> RowMemory:
        """A piece that no state names; what is in it is left over."""
        try:
            return RowMemory(self, self.free.pop(), done)
        except IndexError:
            return RowMemory(self, self._made(), done)

    def _made(self) -> Piece:
        memory = np.empty(self._size, np.uint8)
        return memory, -(-memory.ctypes.data // CACHE_LINE) * CACHE_LINE
