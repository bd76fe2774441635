"""What every engine promises: one timestep of a program for a batch of rows.

State goes in and comes out. Rows are independent, may be at different timesteps and
can be taken out or joined between steps; whatever the batch, thread count or
neighbours, a row's logits, active pairs and spikes are the same bits in every engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spikeserve.models.network import Network

PIXEL = np.dtype(np.uint8)


@dataclass(frozen=True)
class State:
    """What N rows keep between timesteps, an entry a row along axis 0 of every array.

    What an entry is, is the engine's own: membranes and fired flags, or where they are.
    """

    arrays: tuple[NDArray[Any], ...]

    @property
    def rows(self) -> int:
        return len(self.arrays[0])

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> State:
        """The state of the given rows, in that order."""
        index = np.asarray(rows, np.int64)
        return State(tuple(array[index] for array in self.arrays))

    @staticmethod
    def join(states: Sequence[State]) -> State:
        """One state holding the rows of all, in order."""
        if len(states) == 1:
            return states[0]
        columns = zip(*(state.arrays for state in states), strict=True)
        return State(tuple(np.concatenate(column) for column in columns))


@dataclass(frozen=True)
class Step:
    """What one timestep gives for N rows."""

    logits: NDArray[np.int32]
    """``[N, K]``: this timestep's logits, not accumulated."""

    active_pairs: NDArray[np.int64]
    """``[N, L]``: (non-zero input, output position) pairs of every synaptic layer."""

    spikes: NDArray[np.int64]
    """``[N, LIF layers]``: spikes of every LIF layer."""

    state: State


class Engine(Protocol):
    """Runs one timestep of one program."""

    name: str
    network: Network

    def start(self, rows: int) -> State:
        """The state of ``rows`` rows before their first timestep: zero everywhere."""
        ...

    def step(self, frames: NDArray[np.uint8], state: State) -> Step:
        """One timestep for ``frames [N, H, W, C]``; ``state`` is left untouched.

        Raises:
            TypeError: frames are not uint8.
            ValueError: frames and state do not fit the network, or each other.
        """
        ...


def check_frames(frames: NDArray[np.uint8], state: State, network: Network) -> None:
    """What every engine asks of a step's arguments; see :meth:`Engine.step`."""
    if frames.dtype != PIXEL:
        raise TypeError(f"frames are uint8, not {frames.dtype}")
    expected = (state.rows, *network.input_shape)
    if frames.shape != expected:
        raise ValueError(f"frames {frames.shape} do not fit network and state: {expected}")
