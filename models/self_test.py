"""What another framework's network answered, kept in an imported bundle and asked again at load.

``self-test.safetensors`` holds inputs and the float network's outputs, added up as its readout
does. The integer program agrees with their classes as often as was counted when it was made: in
every engine exactly as often, since all compute the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from spikeserve.models.encoding import Encoding, Pixels
from spikeserve.models.engines.contract import Engine
from spikeserve.models.errors import BundleError
from spikeserve.models.exits import logit_sums

FILE = "self-test.safetensors"


@dataclass(frozen=True)
class SelfTestFile:
    """The content of :data:`FILE`."""

    inputs: Pixels
    """Images ``[N, H, W, C]`` or recordings ``[N, T, H, W, C]``."""
    outputs: NDArray[np.float32]
    """``[timesteps, N, K]``, summed up to each timestep."""

    def dump(self) -> bytes:
        return save({"inputs": np.ascontiguousarray(self.inputs), "outputs": self.outputs})

    @classmethod
    def read(cls, data: bytes, input_shape: tuple[int, ...], classes: int) -> SelfTestFile:
        """The inverse of :meth:`dump`.

        Raises:
            BundleError: no such file, or not this network's.
        """
        try:
            tensors = load(data)
            file = cls(tensors["inputs"], tensors["outputs"])
        except (SafetensorError, ValueError, KeyError) as error:
            raise BundleError(f"{FILE} is damaged: {error}") from error
        inputs, outputs = file.inputs, file.outputs
        fits = (
            inputs.dtype == np.uint8
            and inputs.shape[1:] == input_shape
            and outputs.dtype == np.float32
            and outputs.ndim == 3
            and outputs.shape[1:] == (len(inputs), classes)
        )
        if not fits:
            raise BundleError(
                f"{FILE}: inputs {inputs.dtype} {inputs.shape} and outputs {outputs.dtype} "
                f"{outputs.shape} do not fit inputs {input_shape} and {classes} classes"
            )
        return file

    def agreeing(self, engine: Engine, encoding: Encoding, leak: float | None) -> int:
        """At how many timesteps of how many inputs the engine's class is the recorded one."""
        state, logits = engine.start(len(self.inputs)), []
        for t in range(1, len(self.outputs) + 1):
            step = engine.step(encoding.frame(self.inputs, t), state)
            state = step.state
            logits.append(step.logits)
        classes = logit_sums(np.stack(logits), leak).argmax(axis=2)
        return int((classes == self.outputs.argmax(axis=2)).sum())
