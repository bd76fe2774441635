"""The event engine: adds weight rows where spikes are and does nothing where they are not.

For every output position it adds up the weight rows that the active inputs of its window
address. One row addition is one synaptic operation for each output channel, so time follows
activity. The kernels are in :mod:`models.engines.kernels`; how they work and how fast they
are is in ``docs/ENGINES.md``.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.engines.contract import State, Step
from models.engines.kernels.compiled import step_kernel
from models.engines.kernels.layout import Layout
from models.network import Network
from models.program import Program


class EventEngine:
    """Runs a program event by event; rows of a batch are shared out among threads.

    A row's state is its membranes (int16), its fired flags (64 a word) and whether it has
    been stepped at all, so that a new row's memory need not be cleared.

    Args:
        threads: 0 takes every core this process may use.

    Raises:
        EngineUnavailable: the program's sums do not fit the kernels' int16.
    """

    name = "event"

    def __init__(self, program: Program, threads: int = 0) -> None:
        self.network: Network = program.network
        self._layout = Layout.of(program)
        self._kernel = step_kernel()
        self._threads = threads or len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(max(1, self._threads - 1), "event")
        self._scratch: deque[tuple[NDArray[Any], ...]] = deque()

    def start(self, rows: int) -> State:
        return State(
            (
                np.zeros(rows, np.uint8),
                np.empty((rows, self._layout.neurons), np.int16),
                np.empty((rows, self._layout.words), np.uint64),
            )
        )

    def step(self, frames: NDArray[np.uint8], state: State) -> Step:
        rows, layers = len(frames), len(self.network.synaptic)
        ages, membranes, fired = state.arrays
        if frames.shape[1:] != self.network.input_shape or not rows == len(ages) == len(membranes):
            raise ValueError(
                f"frames {frames.shape} and a state of {len(ages)} rows do not fit "
                f"a network with input {self.network.input_shape}"
            )
        stepped = State((np.ones_like(ages), np.empty_like(membranes), np.empty_like(fired)))
        step = Step(
            logits=np.empty((rows, self.network.classes), np.int32),
            active_pairs=np.empty((rows, layers), np.int64),
            spikes=np.empty((rows, layers - 1), np.int64),
            state=stepped,
        )
        self._share_out(
            rows,
            np.ascontiguousarray(frames).reshape(rows, self._layout.inputs),
            *state.arrays,
            *stepped.arrays[1:],
            step.logits,
            step.active_pairs,
            step.spikes,
            *self._layout.tables,
        )
        return step

    def _share_out(self, rows: int, *arguments: NDArray[Any]) -> None:
        """Run the kernel on as many threads as there are rows for; each takes the next row."""
        next_row = np.zeros(1, np.int64)
        helpers = [
            self._pool.submit(self._run, next_row, *arguments)
            for _ in range(min(rows, self._threads) - 1)
        ]
        self._run(next_row, *arguments)
        for helper in helpers:
            helper.result()

    def _run(self, *arguments: NDArray[Any]) -> None:
        try:
            scratch = self._scratch.pop()
        except IndexError:
            scratch = self._layout.scratch()
        self._kernel(*arguments, *scratch)
        self._scratch.append(scratch)
