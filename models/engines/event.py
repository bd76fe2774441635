"""The event engine: adds weight rows where spikes are and does nothing where they are not.

For every output position it adds up the weight rows that the active inputs of its window
address. One row addition is one synaptic operation for each output channel, so time follows
activity. The kernels are in :mod:`spikeserve.models.engines.kernels`; how they work and how
fast they are is in ``docs/ENGINES.md``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

import numpy as np
from numpy.typing import NDArray

from spikeserve.models.engines.contract import State, Step, check_frames
from spikeserve.models.engines.cores import usable_cores
from spikeserve.models.engines.kernels.arguments import Rows, Scratch
from spikeserve.models.engines.kernels.compiled import step_kernel
from spikeserve.models.engines.kernels.layout import Layout
from spikeserve.models.engines.kernels.memory import (
    CurrentsKeeper,
    KeptCurrents,
    MemoryPool,
    RowMemory,
)
from spikeserve.models.network import Network
from spikeserve.models.program import Program


class EventEngine:
    """Runs a program event by event; rows of a batch are shared out among threads.

    A row's state is a piece of memory with its membranes (int16) and its fired flags (64 a
    word), or None before its first step.

    Args:
        threads: 0 takes every core this process may use.
        repeats: rows will see the same frame again and again: its currents are computed once and
            kept, for as long as it stays the same.

    Raises:
        EngineUnavailable: the program's sums do not fit the kernels' int16.
    """

    name = "event"

    def __init__(self, program: Program, threads: int = 0, *, repeats: bool = False) -> None:
        self.network: Network = program.network
        self._layout = Layout.of(program)
        self._kernel = step_kernel()
        self._memories = MemoryPool(self._layout.row_bytes)
        self._keeper = (
            CurrentsKeeper(self._layout.first_bytes, self._layout.alike) if repeats else None
        )
        self._threads = threads or usable_cores()
        self._pool = ThreadPoolExecutor(max(1, self._threads - 1), "event")
        self._scratch: deque[Scratch] = deque()

    def start(self, rows: int) -> State:
        return State((np.full(rows, None, object),))

    def step(self, frames: NDArray[np.uint8], state: State) -> Step:
        rows, layers = len(frames), len(self.network.synaptic)
        before = self._checked(frames, state)
        frames = np.ascontiguousarray(frames).reshape(rows, self._layout.inputs)
        done = [0 if memory is None else memory.done for memory in state.arrays[0]]
        kept: Sequence[KeptCurrents | None] = [None] * rows
        addresses, known = np.zeros(rows, np.uint64), np.zeros(rows, np.uint8)
        if self._keeper is not None:
            kept, known[:] = self._keeper.keep(frames, state.arrays[0])
            addresses[:] = [currents.address for currents in kept]
        after = [
            RowMemory(self._memories, count + 1, currents)
            for count, currents in zip(done, kept, strict=True)
        ]
        stepped = self.start(rows)
        stepped.arrays[0][:] = after
        step = Step(
            logits=np.empty((rows, self.network.classes), np.int32),
            active_pairs=np.empty((rows, layers), np.int64),
            spikes=np.empty((rows, len(self.network.lifs)), np.int64),
            state=stepped,
        )
        self._share_out(
            Rows(
                counter=np.zeros(1, np.int64),
                frames=frames,
                done=np.array(done, np.int64),
                before=np.array(before, np.uint64),
                after=np.array([memory.address for memory in after], np.uint64),
                kept=addresses,
                known=known,
                logits=step.logits,
                active_pairs=step.active_pairs,
                spikes=step.spikes,
            ),
            (state, stepped),
        )
        return step

    def _checked(self, frames: NDArray[np.uint8], state: State) -> list[int]:
        """Addresses of the rows' memory, 0 for new rows: the kernel trusts every one."""
        (memories,) = state.arrays
        check_frames(frames, state, self.network)
        if not all(
            memory is None or (type(memory) is RowMemory and memory.pool is self._memories)
            for memory in memories
        ):
            raise ValueError("frames and state do not fit: the state is another engine's")
        return [0 if memory is None else memory.address for memory in memories]

    def _share_out(self, rows: Rows, held: tuple[State, ...]) -> None:
        """Run the kernel on as many threads as there are rows for; each takes the next row.

        Helpers hold the states whose memory they were given: whatever happens here, no other
        row gets that memory while one of them may still write to it.
        """
        count = len(rows.frames)
        helpers: list[Future[None]] = []
        try:
            for _ in range(min(count, self._threads) - 1):
                helpers.append(self._pool.submit(self._run, rows, held))
            self._run(rows, held)
        finally:
            rows.counter[0] = count  # a helper that begins only now finds no row any more
            running = [helper for helper in helpers if not helper.cancel()]
            wait(running)
        for helper in running:
            helper.result()

    def _run(self, rows: Rows, held: tuple[State, ...]) -> None:  # noqa: ARG002
        try:
            scratch = self._scratch.pop()
        except IndexError:
            scratch = self._layout.scratch()
        self._kernel(rows, self._layout.tables, scratch)
        self._scratch.append(scratch)
