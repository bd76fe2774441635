"""What layers are described in, as nodes of an ONNX graph: calling an operation adds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from spikeserve.models.layers import Synaptic, Window
from spikeserve.models.layers.window import kernels_of

OPSET = 17
IR_VERSION = 8
BYTE = 8


class Node:
    """A value that the graph computes, float32 ``[N, C, H, W]`` or truth values of that shape."""

    def __init__(self, graph: GraphOperations, name: str) -> None:
        self.graph = graph
        self.name = name

    def __add__(self, other: Node) -> Node:
        return self.graph.add("Add", self, other)

    def __sub__(self, other: Node) -> Node:
        return self.graph.add("Sub", self, other)

    def __mul__(self, other: Node) -> Node:
        return self.graph.add("Mul", self, other)

    def __ge__(self, other: Node) -> Node:
        return self.graph.add("GreaterOrEqual", self, other)

    def __and__(self, other: Node) -> Node:
        return self.graph.add("And", self, other)

    def __or__(self, other: Node) -> Node:
        return self.graph.add("Or", self, other)

    def __invert__(self) -> Node:
        return self.graph.add("Not", self)


class GraphOperations:
    """Collects nodes and constants, in the order in which they are asked for.

    Args:
        large_counts: active pairs and spikes are added up as int64; float32 would not hold all.
    """

    def __init__(self, *, large_counts: bool = False) -> None:
        self.large_counts = large_counts
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def add(
        self, kind: str, *inputs: Node | str, output: str | None = None, **attributes: Any
    ) -> Node:
        """A node of ``kind``; ``output`` names what the graph's outputs are called."""
        name = output or f"{kind.lower()}_{len(self.nodes)}"
        names = [value if isinstance(value, str) else value.name for value in inputs]
        self.nodes.append(helper.make_node(kind, names, [name], name=name, **attributes))
        return Node(self, name)

    def named(self, name: str) -> Node:
        """One of the graph's inputs."""
        return Node(self, name)

    def model(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
    ) -> onnx.ModelProto:
        """What was collected as a model, checked."""
        model = helper.make_model(
            helper.make_graph(self.nodes, name, inputs, outputs, self.initializers),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="spikeserve",
        )
        onnx.checker.check_model(model, full_check=True)
        return model

    def constant(self, value: NDArray[np.generic]) -> Node:
        """Numbers that the graph brings along."""
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return Node(self, name)

    def _number(self, value: float) -> Node:
        return self.constant(np.array(value, np.float32))

    def _summed(self, x: Node, axes: Sequence[int], *, keep: bool = True) -> Node:
        return self.add("ReduceSum", x, self.constant(np.array(axes, np.int64)), keepdims=keep)

    def convolved(self, x: Node, weight: NDArray[Any], window: Window, groups: int) -> Node:
        kernels = self.constant(kernels_of(weight, window))
        cast = self.add("Cast", kernels, to=TensorProto.FLOAT)
        return self.add("Conv", x, cast, **geometry(window), group=groups)

    def max_pooled(self, x: Node, window: Window) -> Node:
        return self.add("MaxPool", x, kernel_shape=window.kernel, **geometry(window))

    def sum_pooled(self, x: Node, window: Window, channels: int) -> Node:
        """A depthwise convolution with ones: an average would be rounded."""
        ones = self.constant(np.ones((channels, 1, *window.kernel), np.float32))
        return self.add("Conv", x, ones, **geometry(window), group=channels)

    def channels(self, numbers: NDArray[Any]) -> Node:
        return self.constant(numbers.astype(np.float32).reshape(1, -1, 1, 1))

    def floor_scaled(self, x: Node, multiplier: int, bits: int, nearest: bool = False) -> Node:
        half = (1 << bits) // 2 if nearest else 0
        if multiplier >> BYTE and bits > BYTE:  # the product may need more than 24 bits
            high = self.floor_scaled(x, 1, BYTE)
            rest = (x - high * self._number(1 << BYTE)) * self._number(multiplier)
            low = self.floor_scaled(rest + self._number(half) if half else rest, 1, BYTE)
            return self.floor_scaled(high * self._number(multiplier) + low, 1, bits - BYTE)
        scaled = self.add("Mul", x, self._number(multiplier / (1 << bits)))
        return self.add("Floor", scaled + self._number(half / (1 << bits)) if half else scaled)

    def floor_divided(self, x: Node, divisor: Node) -> Node:
        """Exact, as the torch engine's is."""
        return self.add("Floor", self.add("Div", x, divisor))

    def clipped(self, x: Node, low: int, high: int) -> Node:
        return self.add("Clip", x, self._number(low), self._number(high))

    def where(self, condition: Node, chosen: Node | int, otherwise: Node) -> Node:
        value = self._number(chosen) if isinstance(chosen, int) else chosen
        return self.add("Where", condition, value, otherwise)

    def numbers(self, spikes: Node) -> Node:
        return self.add("Cast", spikes, to=TensorProto.FLOAT)

    def scheduled(self, numbers: NDArray[Any], done: Node) -> Node:
        last = self.constant(np.array(len(numbers) - 1, np.int64))
        table = self.constant(numbers.astype(np.float32)[:, :, None, None])
        return self.add("Gather", table, self.add("Min", done, last), axis=0)

    def active_pairs(self, layer: Synaptic, x: Node, counts: bool) -> Node:
        """Non-zero inputs, or their counts, weighted by how many windows see them, ``[N, 1]``."""
        if counts:
            active = self._summed(self._tallied(x), [1])
        else:  # at most as many as channels
            active = self._tallied(self._summed(self.add("Sign", x), [1]))  # [N, 1, H, W]
        dtype = np.int64 if self.large_counts else np.float32
        seen = self.constant(layer.coverage.astype(dtype)[None, None])
        return self._summed(self.add("Mul", active, seen), [2, 3], keep=False)

    def counted(self, spikes: Node) -> Node:
        summed = self._summed(self._tallied(spikes), [2, 3], keep=False)
        return self._summed(summed, [1])

    def _tallied(self, x: Node) -> Node:
        """Numbers as what they are added up in."""
        return self.add("Cast", x, to=TensorProto.INT64) if self.large_counts else x


def geometry(window: Window) -> dict[str, Any]:
    """A window's strides and padding as attributes."""
    return {"strides": window.stride, "pads": window.padding * 2}


def rows(name: str, dtype: int, *shape: int) -> onnx.ValueInfoProto:
    """An input or output ``[N, *shape]``."""
    return helper.make_tensor_value_info(name, dtype, ["N", *shape])
