"""The integer program as a one-timestep ONNX graph with explicit state.

Inputs: ``frames`` uint8 ``[N, H, W, C]``, then per LIF layer ``v_<name>`` float32
``[N, C, H, W]`` and, where it fires once, ``fired_<name>`` bool. Outputs: ``logits`` int32
``[N, K]``, ``active_pairs`` int64 ``[N, L]``, ``spikes`` int64 ``[N, L - 1]``, then the
state again. Integers travel as float32, exact because every value stays below 2^24;
weights are stored as int8 and cast once when the session folds constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from spikeserve.models.layers import Conv, Lif, Linear, Pool, Shortcut, Synaptic
from spikeserve.models.layers.lif import MEMBRANE_MAX, MEMBRANE_MIN
from spikeserve.models.program import Program, Synapses

OPSET = 17
IR_VERSION = 8


class _Graph:
    """Collects nodes; every method returns the name of what it produced."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def add(
        self, op: str, inputs: Sequence[str], output: str | None = None, **attributes: Any
    ) -> str:
        name = output or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, value: NDArray[np.generic]) -> str:
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(value, name))
        return name

    def number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def axes(self, *axes: int) -> str:
        return self.constant(np.array(axes, np.int64))


def step_graph(program: Program) -> onnx.ModelProto:
    """Build and check the graph of one timestep."""
    network, graph = program.network, _Graph()
    state_in: list[onnx.ValueInfoProto] = []
    state_out: list[tuple[str, onnx.ValueInfoProto]] = []
    pairs, spikes = [], []
    synapses, thresholds = iter(program.synapses), iter(program.thresholds)

    produced: dict[str, str] = {}
    frames = graph.add("Cast", ["frames"], to=TensorProto.FLOAT)
    x = graph.add("Transpose", [frames], perm=[0, 3, 1, 2])
    for layer in network.layers:
        match layer:
            case Conv() | Linear():
                pairs.append(_active_pairs(graph, layer, x))
                x = _current(graph, layer, next(synapses), x)
            case Shortcut():
                source = produced[layer.source]
                pairs.append(_active_pairs(graph, layer, source))
                x = graph.add("Add", [x, _shortcut(graph, layer, next(synapses), source)])
            case Lif():
                x = _lif(graph, layer, next(thresholds), x, state_in, state_out)
                spikes.append(_count(graph, x))
            case Pool():
                x = _pool(graph, layer, x)
        produced[layer.name] = x
    logits = graph.add("Flatten", [x])
    graph.add("Cast", [logits], "logits", to=TensorProto.INT32)
    for name, counts in (("active_pairs", pairs), ("spikes", spikes)):
        joined = graph.add("Concat", counts, axis=1)
        graph.add("Cast", [joined], name, to=TensorProto.INT64)

    height, width, channels = network.input_shape
    inputs = [
        helper.make_tensor_value_info("frames", TensorProto.UINT8, ["N", height, width, channels])
    ]
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.INT32, ["N", network.classes]),
        helper.make_tensor_value_info("active_pairs", TensorProto.INT64, ["N", len(pairs)]),
        helper.make_tensor_value_info("spikes", TensorProto.INT64, ["N", len(spikes)]),
    ]
    # Membranes first, then fired flags, the order of every engine's state.
    state_in.sort(key=lambda value: value.name.startswith("fired"))
    state_out.sort(key=lambda pair: pair[1].name.startswith("new_fired"))
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "step",
            inputs + state_in,
            outputs + [value for _, value in state_out],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="spikeserve",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _current(graph: _Graph, layer: Conv | Linear, synapses: Synapses, x: str) -> str:
    weight = synapses.weight.T  # [c_out, rows]
    bias = graph.constant(synapses.bias.astype(np.float32).reshape(1, -1, 1, 1))
    if isinstance(layer, Linear):
        height, width, c_in = layer.in_shape
        kernel = weight.reshape(-1, height, width, c_in)
        strides, pads = [1, 1], [0] * 4
    else:
        kernel = weight.reshape(-1, layer.kernel, layer.kernel, layer.in_shape[2])
        strides, pads = [layer.stride] * 2, [layer.padding] * 4
    stored = graph.constant(np.ascontiguousarray(kernel.transpose(0, 3, 1, 2)))
    kernel_name = graph.add("Cast", [stored], to=TensorProto.FLOAT)
    sums = graph.add("Conv", [x, kernel_name], strides=strides, pads=pads)
    if layer.shift:
        scaled = graph.add("Mul", [sums, graph.number(2.0**-layer.shift)])
        sums = graph.add("Floor", [scaled])
    return graph.add("Add", [sums, bias])


def _shortcut(graph: _Graph, layer: Shortcut, synapses: Synapses, x: str) -> str:
    bias = graph.constant(synapses.bias.astype(np.float32).reshape(1, -1, 1, 1))
    if layer.pool > 1:
        x = _pool(graph, Pool(layer.name, layer.in_shape, layer.pool, "sum"), x)
    weight = synapses.weight.T if layer.projects else synapses.weight
    stored = graph.constant(np.ascontiguousarray(weight[:, :, None, None]))
    weights = graph.add("Cast", [stored], to=TensorProto.FLOAT)
    return graph.add("Add", [graph.add("Conv" if layer.projects else "Mul", [x, weights]), bias])


def _lif(
    graph: _Graph,
    layer: Lif,
    threshold: NDArray[np.int32],
    current: str,
    state_in: list[onnx.ValueInfoProto],
    state_out: list[tuple[str, onnx.ValueInfoProto]],
) -> str:
    height, width, channels = layer.in_shape
    shape: list[str | int | None] = ["N", channels, height, width]
    theta = graph.constant(threshold.astype(np.float32).reshape(1, -1, 1, 1))

    def state(kind: str, dtype: int) -> tuple[str, str]:
        before, after = f"{kind}_{layer.name}", f"new_{kind}_{layer.name}"
        state_in.append(helper.make_tensor_value_info(before, dtype, shape))
        state_out.append((after, helper.make_tensor_value_info(after, dtype, shape)))
        return before, after

    v, new_v = state("v", TensorProto.FLOAT)
    if layer.leak_q != 256:
        scaled = graph.add("Mul", [v, graph.number(layer.leak_q / 256)])
        v = graph.add("Floor", [scaled])
    low, high = graph.number(MEMBRANE_MIN), graph.number(MEMBRANE_MAX)
    v = graph.add("Clip", [graph.add("Add", [v, current]), low, high])
    spiking = graph.add("GreaterOrEqual", [v, theta])
    if layer.fire_once:
        fired, new_fired = state("fired", TensorProto.BOOL)
        spiking = graph.add("And", [spiking, graph.add("Not", [fired])])
        graph.add("Or", [fired, spiking], new_fired)
    if layer.reset == "hard":
        graph.add("Where", [spiking, graph.number(0.0), v], new_v)
    else:
        lowered = graph.add("Where", [spiking, graph.add("Sub", [v, theta]), v])
        graph.add("Clip", [lowered, low, high], new_v)
    return graph.add("Cast", [spiking], to=TensorProto.FLOAT)


def _pool(graph: _Graph, layer: Pool, x: str) -> str:
    size = [layer.kernel] * 2
    if layer.mode == "max":
        return graph.add("MaxPool", [x], kernel_shape=size, strides=size)
    channels = layer.in_shape[2]  # a sum: depthwise convolution with ones
    ones = graph.constant(np.ones((channels, 1, *size), np.float32))
    return graph.add("Conv", [x, ones], strides=size, group=channels)


def _active_pairs(graph: _Graph, layer: Synaptic, x: str) -> str:
    """Non-zero inputs weighted by how many windows see them, ``[N, 1]``."""
    active = graph.add("Sign", [x])
    per_position = graph.add("ReduceSum", [active, graph.axes(1)])  # [N, 1, H, W]
    seen = graph.constant(layer.coverage.astype(np.float32)[None, None])
    weighted = graph.add("Mul", [per_position, seen])
    return graph.add("ReduceSum", [weighted, graph.axes(2, 3)], keepdims=0)


def _count(graph: _Graph, x: str) -> str:
    total = graph.add("ReduceSum", [x, graph.axes(2, 3)], keepdims=0)
    return graph.add("ReduceSum", [total, graph.axes(1)])
