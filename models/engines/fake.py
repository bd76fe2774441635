"""An engine of scripted answers, to test what uses engines: no weights, no arithmetic.

    engine = FakeEngine(manifest.network, [[0, 1, ...], [0, 9, ...]])   # hesitates, then is sure
    Model(manifest, engine).classify(image).timesteps_used

A service in a test takes it in place of the engine it was loaded with:
``app.state.registry.get().worker.engine = engine``. (At load it would be refused, since its
answers are not the bundle's.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from spikeserve.models.encoding import Pixels
from spikeserve.models.engines.contract import State, Step, check_frames
from spikeserve.models.network import Network

INT32 = np.iinfo(np.int32)


class FakeEngine:
    """Gives every row the scripted logits of the row's own timestep.

    Rows may be at different timesteps, be taken out and joined, as the contract has it. All
    active pairs and spikes are 0.

    Args:
        network: whose shapes the answers have.
        logits: ``[t, K]``, one row of integers for each timestep; the last one is repeated.
            All 0 if left out: never sure.
        before_step: called with a step's frames and state before it runs, to wait, to fail or
            to look.

    Raises:
        ValueError: ``logits`` are not integers ``[t, K]`` of the network's K classes.
    """

    name = "fake"

    def __init__(
        self,
        network: Network,
        logits: Sequence[Sequence[int]] | NDArray[np.integer] | None = None,
        before_step: Callable[[Pixels, State], object] | None = None,
    ) -> None:
        self.network = network
        self._before_step = before_step
        script = np.asarray([[0] * network.classes] if logits is None else logits)
        if script.ndim != 2 or not len(script) or script.shape[1] != network.classes:
            raise ValueError(f"logits must be [t, {network.classes}], not {list(script.shape)}")
        if not np.issubdtype(script.dtype, np.integer):
            raise ValueError(f"logits must be integers, not {script.dtype}")
        if np.abs(script).max() > INT32.max:
            raise ValueError("logits must fit int32")
        self._script = script.astype(np.int32)

    def start(self, rows: int) -> State:
        return State((np.zeros(rows, np.int64),))  # timesteps done

    def step(self, frames: Pixels, state: State) -> Step:
        check_frames(frames, state, self.network)
        if self._before_step is not None:
            self._before_step(frames, state)
        (done,) = state.arrays
        return Step(
            logits=self._script[np.minimum(done, len(self._script) - 1)],
            active_pairs=np.zeros((len(frames), len(self.network.synaptic)), np.int64),
            spikes=np.zeros((len(frames), len(self.network.lifs)), np.int64),
            state=State((done + 1,)),
        )
