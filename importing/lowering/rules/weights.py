"""Nodes with weights: convolutions, linear layers, scales, batch-norm."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from spikeserve.importing.graph import Node
from spikeserve.importing.lowering.findings import Refusal, Remarks
from spikeserve.importing.lowering.flows import Currents, Flow, Signal, through
from spikeserve.importing.lowering.maps import Map, identity, linear, scaled
from spikeserve.importing.lowering.rules.rule import Lowered, Rule, by_channel, numbers, pair_of
from spikeserve.importing.network import Floats
from spikeserve.models.layers import Window

MAX_KERNEL, MAX_PADDING = 512, 256


@dataclass(frozen=True)
class Convolution(Rule):
    """``Conv2d``: groups, dilation, any kernel; paddings by name."""

    needs: ClassVar[tuple[str, ...]] = ("weight",)

    def examine(self, node: Node) -> None:
        super().examine(node)
        weight = numbers(node.parameters, "weight")
        if weight.ndim != 4:
            raise Refusal(f"weight has the shape {weight.shape}; [out, in, height, width] is meant")
        if not weight.any():
            raise Refusal("all weights are zero")
        bias = _bias(node, weight.shape[0])
        if bias.shape != weight.shape[:1]:
            raise Refusal(f"bias has the shape {bias.shape} for {weight.shape[0]} output channels")
        groups = _groups(node)
        if weight.shape[0] % groups:
            raise Refusal(f"{groups} groups do not divide {weight.shape[0]} output channels")

    def lower(self, node: Node, flow: Flow, remarks: Remarks) -> Lowered:
        if flow.flat and flow.shape[:2] != (1, 1):
            raise Refusal("a convolution cannot read what was flattened")
        weight, groups = numbers(node.parameters, "weight"), _groups(node)
        if weight.shape[1] * groups != flow.shape[2]:
            turned = weight.shape[0] == flow.shape[2] and weight.shape[1] != flow.shape[2]
            hint = "; it seems to be transposed" if turned else ""
            raise Refusal(
                f"weight {weight.shape} in {groups} groups reads {weight.shape[1] * groups} "
                f"channels, {flow.shape[2]} arrive{hint}"
            )
        dilation = pair_of(node.parameters, "dilation", 1)
        kernel = weight.transpose(2, 3, 1, 0)
        if dilation != (1, 1):
            kernel = _dilated(kernel, dilation)
            remarks.folded(f"dilation {dilation} as a kernel {kernel.shape[:2]} with zeros")
        if groups > 1:
            remarks.note(f"{groups} groups")
        stride = pair_of(node.parameters, "stride", 1)
        if 0 in stride:
            raise Refusal("stride 0 goes nowhere")
        kernel, padding = _padded(node, kernel, stride, remarks)
        window = Window(kernel.shape[:2], stride, padding)
        one = Map(
            flow.shape, window, np.ascontiguousarray(kernel), _bias(node, weight.shape[0]), groups
        )
        _check_window(one)
        if isinstance(flow, Currents):
            remarks.folded("into the weights before it")
        return Lowered(through(flow, one, node.name))


@dataclass(frozen=True)
class FullyConnected(Rule):
    """``Affine`` and ``Linear``."""

    needs: ClassVar[tuple[str, ...]] = ("weight",)

    def examine(self, node: Node) -> None:
        super().examine(node)
        weight = numbers(node.parameters, "weight")
        if weight.ndim != 2:
            raise Refusal(f"weight has the shape {weight.shape}; [out, in] is meant")
        if not weight.any():
            raise Refusal("all weights are zero")
        if _bias(node, weight.shape[0]).shape != weight.shape[:1]:
            raise Refusal(
                f"bias has the shape {_bias(node, 0).shape} for weights {weight.shape}, [out, in]: "
                "are they transposed?"
            )

    def lower(self, node: Node, flow: Flow, remarks: Remarks) -> Lowered:
        weight = numbers(node.parameters, "weight")
        if weight.shape[1] != flow.size:
            if weight.shape[0] == flow.size:
                raise Refusal(
                    f"weight {weight.shape} for {flow.size} inputs is transposed; write [out, in]"
                )
            raise Refusal(
                f"weight {weight.shape} reads {weight.shape[1]} inputs, {flow.size} arrive"
            )
        if not flow.flat and flow.shape[:2] != (1, 1):
            raise Refusal(
                f"reads a map {flow.shape} (height, width, channels); put a Flatten before it"
            )
        if isinstance(flow, Currents):
            remarks.folded("into the weights before it")
        one = linear(flow.shape, weight, _bias(node, weight.shape[0]))
        return Lowered(through(replace(flow, flat=False), one, node.name))


@dataclass(frozen=True)
class Scaling(Rule):
    """``Scale``: a factor a channel, folded into the weights before or behind."""

    needs: ClassVar[tuple[str, ...]] = ("scale",)

    def lower(self, node: Node, flow: Flow, remarks: Remarks) -> Lowered:
        factor = by_channel(numbers(node.parameters, "scale"), flow.shape, flow.flat, "scale")
        if isinstance(flow, Signal):
            remarks.folded("into the weights behind it")
            return Lowered(flow.scaled(factor))
        remarks.folded("into the weights before it")
        terms = (replace(term, map=scaled(term.map, factor)) for term in flow.terms)
        return Lowered(replace(flow, terms=tuple(terms)))


@dataclass(frozen=True)
class Normalisation(Rule):
    """``BatchNorm2d`` as it is after training: a factor and a shift a channel."""

    needs: ClassVar[tuple[str, ...]] = ("mean", "var")

    def lower(self, node: Node, flow: Flow, remarks: Remarks) -> Lowered:
        mean, variance = (numbers(node.parameters, name) for name in ("mean", "var"))
        if (variance < 0).any():
            raise Refusal("var is negative")
        eps = float(np.asarray(node.parameters.get("eps", 1e-5)))
        gain = np.asarray(node.parameters.get("weight", np.ones_like(mean)), np.float64)
        shift = np.asarray(node.parameters.get("bias", np.zeros_like(mean)), np.float64)
        factor = gain / np.sqrt(variance + eps)
        channels = (flow.shape[2],)
        if factor.shape != channels or shift.shape != channels:
            raise Refusal(f"normalises {factor.size} channels, {flow.shape[2]} arrive")
        if isinstance(flow, Signal):
            one = scaled(identity(flow.shape), factor, shift - mean * factor)
            remarks.note("as a layer of its own")
            return Lowered(replace(through(flow, one, node.name), flat=flow.flat))
        remarks.folded("into the weights before it")
        first, *rest = flow.terms
        moved = replace(first, map=scaled(first.map, factor, shift - mean * factor))
        others = (replace(term, map=scaled(term.map, factor)) for term in rest)
        return Lowered(replace(flow, terms=(moved, *others)))


def _bias(node: Node, channels: int) -> Floats:
    if "bias" not in node.parameters:
        return np.zeros(channels)
    return np.atleast_1d(numbers(node.parameters, "bias"))


def _groups(node: Node) -> int:
    groups = int(np.asarray(node.parameters.get("groups", 1)).ravel()[0])
    if groups < 1:
        raise Refusal(f"{groups} groups")
    return groups


def _dilated(kernel: Floats, dilation: tuple[int, int]) -> Floats:
    if 0 in dilation:
        raise Refusal("dilation 0 means nothing")
    rows, columns = (
        (extent - 1) * step + 1 for extent, step in zip(kernel.shape[:2], dilation, strict=True)
    )
    if max(rows, columns) > MAX_KERNEL:
        raise Refusal(f"a kernel of {rows}x{columns} places; up to {MAX_KERNEL} are possible")
    wide = np.zeros((rows, columns, *kernel.shape[2:]))
    wide[:: dilation[0], :: dilation[1]] = kernel
    return wide


def _padded(
    node: Node, kernel: Floats, stride: tuple[int, int], remarks: Remarks
) -> tuple[Floats, tuple[int, int]]:
    """Kernel and padding; ``same`` pads one more behind where the kernel is even, which is a kernel
    with a row of zeros before it."""
    named = node.parameters.get("padding", 0)
    if not isinstance(named, str):
        return kernel, pair_of(node.parameters, "padding", 0)
    match named.lower():
        case "valid":
            return kernel, (0, 0)
        case "same":
            if stride != (1, 1):
                raise Refusal("padding 'same' knows no stride; give numbers")
        case other:
            raise Refusal(f"padding {other!r} is not known; give numbers, 'same' or 'valid'")
    padding = (kernel.shape[0] // 2, kernel.shape[1] // 2)
    remarks.note(f"padding 'same' is {padding}")
    uneven = [(1 - extent % 2, 0) for extent in kernel.shape[:2]]
    return np.pad(kernel, (*uneven, (0, 0), (0, 0))), padding


def _check_window(one: Map) -> None:
    window = one.window
    if max(window.kernel) > MAX_KERNEL or max(window.padding) > MAX_PADDING:
        raise Refusal(f"kernel {window.kernel} and padding {window.padding} are too large")
    if any(p >= k for p, k in zip(window.padding, window.kernel, strict=True)):
        raise Refusal(f"padding {window.padding} is as large as the kernel {window.kernel}")
    if min(one.out_shape) < 1:
        raise Refusal(f"its kernel {window.kernel} is larger than the map {one.in_shape[:2]}")
