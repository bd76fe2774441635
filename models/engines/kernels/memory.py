"""Where rows keep their membranes between timesteps: one piece of memory a row, used again.

A state names pieces of memory instead of holding arrays, so taking rows out of a batch and
joining others to it copies nothing, and a new row needs no memory at all before its first
step. Pieces go back to their pool when no state names them any more; the one given back
last is taken first, since it is the one the caches still hold.

Where frames repeat, the first layer's currents are kept beside that, in a piece that a row's
memories name one after another: written once, read as long as the frame stays the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

CACHE_LINE = 64

Piece = tuple[NDArray[np.uint8], int]
"""Memory, and the address of its first whole cache line."""


class MemoryPool:
    """Pieces of ``size`` bytes that nobody names; what is in them is left over."""

    def __init__(self, size: int) -> None:
        self._size = size + CACHE_LINE
        self.free: deque[Piece] = deque()

    def made(self) -> Piece:
        memory = np.empty(self._size, np.uint8)
        return memory, -(-memory.ctypes.data // CACHE_LINE) * CACHE_LINE


class Lent:
    """A piece that goes back to its pool with its last name."""

    __slots__ = ("_piece", "address", "pool")

    def __init__(self, pool: MemoryPool) -> None:
        self.pool = pool
        try:
            self._piece = pool.free.pop()
        except IndexError:
            self._piece = pool.made()
        self.address = self._piece[1]

    def __del__(self) -> None:
        self.pool.free.append(self._piece)


class RowMemory(Lent):
    """One row's membranes and, after them, its fired flags, after ``done`` timesteps."""

    __slots__ = ("done", "kept")

    def __init__(self, pool: MemoryPool, done: int, kept: KeptCurrents | None) -> None:
        super().__init__(pool)
        self.done = done
        self.kept = kept


class KeptCurrents(Lent):
    """The first layer's active pairs and, a cache line further, its currents, for one frame and
    one row of the drive."""

    __slots__ = ("frame", "numbers")

    def __init__(self, pool: MemoryPool, frame: bytes, numbers: int) -> None:
        super().__init__(pool)
        self.frame = frame
        self.numbers = numbers


class CurrentsKeeper:
    """Knows whether the first layer has met a row's frame before.

    Args:
        size: bytes that the first layer's currents take.
        alike: for every timestep of the drive, the first one with the same gain and padding.
    """

    def __init__(self, size: int, alike: Sequence[int]) -> None:
        self._pool = MemoryPool(CACHE_LINE + size)
        self._alike = alike

    def keep(
        self, frames: NDArray[np.uint8], before: Iterable[RowMemory | None]
    ) -> tuple[list[KeptCurrents], list[bool]]:
        """For every row what is to be kept after this timestep, and whether it is there already.

        What is there is never written again: other states may name it as well.
        """
        kept: list[KeptCurrents] = []
        known: list[bool] = []
        for frame, memory in zip(frames, before, strict=True):
            pixels = frame.tobytes()
            done, last = (0, None) if memory is None else (memory.done, memory.kept)
            numbers = self._alike[min(done, len(self._alike) - 1)]
            if last is not None and last.numbers == numbers and last.frame == pixels:
                kept.append(last)
                known.append(True)
            else:
                kept.append(KeptCurrents(self._pool, pixels, numbers))
                known.append(False)
        return kept, known
