"""Where windows lie on a map. Compiled by numba."""

from __future__ import annotations

from numba import njit


@njit
def overlap(start: int, size: int, extent: int) -> tuple[int, int]:
    """What of ``start … start + size`` lies in ``0 … extent``: its begin and end.

    A window may lie wholly outside, in the padding: then both are the same.
    """
    begin = min(max(start, 0), extent)
    return begin, max(min(start + size, extent), begin)
