"""What the integer program answers, for the user's inputs: the reference with faster products."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikeserve.importing.data.inputs import Inputs
from spikeserve.importing.integers.program import Rounded
from spikeserve.models.engines.reference import Ints, NumpyOperations, ReferenceEngine, windows_of
from spikeserve.models.exits import logit_sums
from spikeserve.models.inference import Trace
from spikeserve.models.layers import Window
from spikeserve.models.program import Program

BATCH = 64


class QuickOperations(NumpyOperations):
    """The reference's, with products in float32, which holds all sums of a program exactly."""

    def convolved(self, x: Ints, weight: NDArray[np.generic], window: Window, groups: int) -> Ints:
        if groups > 1:
            return super().convolved(x, weight, window, groups)
        windows = windows_of(x.astype(np.float32), window)
        rows, height, width = windows.shape[:3]
        sums = windows.reshape(rows * height * width, -1) @ weight.astype(np.float32)
        return sums.astype(np.int32).reshape(rows, height, width, -1)


def answered(rounded: Rounded, inputs: Inputs, timesteps: int) -> Trace:
    """All ``timesteps`` of all inputs."""
    engine = ReferenceEngine(rounded.program, QuickOperations())
    parts = [
        _trace(engine, rounded, inputs[start : start + BATCH], timesteps)
        for start in range(0, len(inputs), BATCH)
    ]
    return Trace(
        np.concatenate([part.logit_sums for part in parts], axis=1),
        np.concatenate([part.active_pairs for part in parts], axis=1),
        np.concatenate([part.spikes for part in parts], axis=1),
    )


def _trace(engine: ReferenceEngine, rounded: Rounded, inputs: Inputs, timesteps: int) -> Trace:
    state, steps = engine.start(len(inputs)), []
    for t in range(1, timesteps + 1):
        steps.append(engine.step(frame_of(rounded.program, inputs, t), state))
        state = steps[-1].state
    logits = np.stack([step.logits for step in steps])
    return Trace(
        logit_sums(logits, rounded.readout.served_leak),
        np.stack([step.active_pairs for step in steps]),
        np.stack([step.spikes for step in steps]),
    )


def frame_of(program: Program, inputs: Inputs, t: int) -> NDArray[np.uint8]:
    """What enters at timestep ``t``; counts beyond the largest are that."""
    if inputs.constant:
        return inputs.values.astype(np.uint8, copy=False)
    counts = inputs.values[:, t - 1].astype(np.uint8, copy=False)
    return np.minimum(counts, np.uint8(program.largest_count or 255))
