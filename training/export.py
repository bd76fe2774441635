"""The integer program as a one-timestep ONNX graph with explicit state.

Inputs: ``frames`` uint8 ``[N, H, W, C]``, then per LIF layer ``v_<name>`` float32
``[N, C, H, W]`` and, where it fires once, ``fired_<name>`` bool; where the program has a drive,
``done`` int64 ``[N]``, the timesteps that rows have done. Outputs: ``logits`` int32
``[N, K]``, ``active_pairs`` int64 ``[N, L]``, ``spikes`` int64 ``[N, L - 1]``, then the
state again. Integers travel as float32, exact because every value stays below 2^24; active pairs
and spikes that may be more are added up as int64. Weights are stored as int8, or int16, and cast
once when the session folds constants.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from spikeserve.models.layers import Lif
from spikeserve.models.layers.lif import Memory
from spikeserve.models.program import EXACT_IN_FLOAT32, Program
from spikeserve.models.timestep import timestep
from spikeserve.training.graph import GraphOperations, Node, rows


def step_graph(program: Program) -> onnx.ModelProto:
    """Build and check the graph of one timestep."""
    network = program.network
    graph = GraphOperations(large_counts=program.largest_tally >= EXACT_IN_FLOAT32)
    frames = graph.add("Cast", "frames", to=TensorProto.FLOAT)
    memories = [Memory(graph.named(f"v_{lif.name}"), _fired(graph, lif)) for lif in network.lifs]
    x = graph.add("Transpose", frames, perm=[0, 3, 1, 2])
    done = graph.named("done") if program.drive is not None else None
    result = timestep(program, graph, x, memories, done)
    graph.add("Cast", graph.add("Flatten", result.logits), to=TensorProto.INT32, output="logits")
    for name, counts in (("active_pairs", result.active_pairs), ("spikes", result.spikes)):
        joined = graph.add("Concat", *counts, axis=1)
        graph.add("Cast", joined, to=TensorProto.INT64, output=name)

    height, width, channels = network.input_shape
    inputs = [rows("frames", TensorProto.UINT8, height, width, channels)]
    outputs = [
        rows("logits", TensorProto.INT32, network.classes),
        rows("active_pairs", TensorProto.INT64, len(network.synaptic)),
        rows("spikes", TensorProto.INT64, len(network.lifs)),
    ]
    # Membranes first, then fired flags, the order of every engine's state.
    for kind, dtype in (("v", TensorProto.FLOAT), ("fired", TensorProto.BOOL)):
        for lif, memory in zip(network.lifs, result.memories, strict=True):
            if kind == "v" or lif.fire_once:
                height, width, channels = lif.in_shape
                name = f"{kind}_{lif.name}"
                graph.add("Identity", getattr(memory, kind), output=f"new_{name}")
                inputs.append(rows(name, dtype, channels, height, width))
                outputs.append(rows(f"new_{name}", dtype, channels, height, width))
    if done is not None:
        one = graph.constant(np.ones(1, np.int64))
        graph.add("Add", done, one, output="new_done")
        inputs.append(rows("done", TensorProto.INT64))
        outputs.append(rows("new_done", TensorProto.INT64))
    return graph.model("step", inputs, outputs)


def _fired(graph: GraphOperations, lif: Lif) -> Node | None:
    return graph.named(f"fired_{lif.name}") if lif.fire_once else None
