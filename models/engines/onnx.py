"""One timestep as an ONNX graph in ONNX Runtime; the state is the graph's inputs and outputs.

The graph works on float32 in ``[N, C, H, W]``. Every value is an integer below 2^24, so
float32 sums are exact in any order and the logits are the reference's, bit for bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from spikeserve.models.engines.contract import State, Step, check_frames
from spikeserve.models.engines.cores import usable_cores
from spikeserve.models.errors import EngineUnavailable
from spikeserve.models.network import Network
from spikeserve.models.program import Program

OUTPUTS = ("logits", "active_pairs", "spikes")
ort.disable_telemetry_events()  # if it was imported before spikeserve could switch it off
DTYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(bool)": np.bool_,
    "tensor(int64)": np.int64,
}


class OnnxEngine:
    """Runs a bundle's ``step.onnx``.

    Args:
        program: what the graph computes; rows begin with its initial potentials.
        graph: path or bytes of the step graph.
        threads: intra-op threads; 0 takes every core this process may use.

    Raises:
        EngineUnavailable: the graph does not load or does not fit the network.
    """

    name = "onnx"

    def __init__(self, program: Program, graph: Path | bytes, threads: int = 0) -> None:
        options = ort.SessionOptions()
        # Its own choice would be the host's cores, whatever a container may use of them.
        options.intra_op_num_threads = threads or usable_cores()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Spinning between ticks would steal the cores that decode images.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        source = str(graph) if isinstance(graph, Path) else graph
        try:
            self._session = ort.InferenceSession(
                source, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise EngineUnavailable(f"ONNX Runtime cannot load the step graph: {error}") from error
        self.network: Network = program.network
        self._initial = {
            f"v_{lif.name}": neurons.initial.astype(np.float32)[:, None, None]
            for lif, neurons in zip(program.network.lifs, program.neurons, strict=True)
        }
        self._state = [i for i in self._session.get_inputs() if i.name != "frames"]
        self._check_interface()

    def _check_interface(self) -> None:
        inputs = {value.name: value.shape for value in self._session.get_inputs()}
        outputs = [output.name for output in self._session.get_outputs()]
        if inputs.get("frames", [])[1:] != list(self.network.input_shape):
            raise EngineUnavailable(f"step graph takes {inputs}, no frames of the network's size")
        states = [f"new_{value.name}" for value in self._state]
        if outputs != [*OUTPUTS, *states]:
            raise EngineUnavailable(f"step graph returns {outputs}, not {[*OUTPUTS, *states]}")
        widths = [output.shape[1:] for output in self._session.get_outputs()[: len(OUTPUTS)]]
        network = self.network
        if widths != [[network.classes], [len(network.synaptic)], [len(network.lifs)]]:
            raise EngineUnavailable("step graph and network disagree on classes or layers")
        if any(value.type not in DTYPES for value in self._state):
            raise EngineUnavailable("step graph state must be float, bool or int64")
        kept, known = {value.name for value in self._state}, self._names()
        if missing := self._initial.keys() - kept:
            raise EngineUnavailable(f"step graph keeps no {', '.join(sorted(missing))}")
        if unknown := kept.difference(known):
            raise EngineUnavailable(f"step graph keeps {', '.join(sorted(unknown))}")

    def _names(self) -> list[str]:
        """What the reference's state has, in its order, as the graph calls it."""
        lifs = self.network.lifs
        kinds = ("v", "fired")
        return [*(f"{kind}_{lif.name}" for kind in kinds for lif in lifs), "done"]

    def adopted(self, state: State) -> State:
        """The reference's state as this engine's: what the graph keeps, channels first."""
        arrays = dict(zip(self._names(), state.arrays, strict=True))
        return State(
            tuple(
                _channels_first(arrays[value.name]).astype(DTYPES[value.type])
                for value in self._state
            )
        )

    def start(self, rows: int) -> State:
        arrays = []
        for value in self._state:
            array = np.zeros((rows, *value.shape[1:]), DTYPES[value.type])  # cleared when touched
            initial = self._initial.get(value.name)
            if initial is not None and initial.any():
                array[:] = initial
            arrays.append(array)
        return State(tuple(arrays))

    def step(self, frames: NDArray[np.uint8], state: State) -> Step:
        check_frames(frames, state, self.network)
        feeds: dict[str, NDArray[Any]] = {"frames": frames}
        feeds |= {value.name: array for value, array in zip(self._state, state.arrays, strict=True)}
        logits, pairs, spikes, *arrays = self._session.run(None, feeds)
        return Step(logits, pairs, spikes, State(tuple(arrays)))


def _channels_first(array: NDArray[Any]) -> NDArray[Any]:
    return array.transpose(0, 3, 1, 2) if array.ndim == 4 else array
