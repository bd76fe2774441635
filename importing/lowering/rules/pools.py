"""Pools: over spikes they are layers, over currents they are folded into the weights before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from spikeserve.importing.graph import Node
from spikeserve.importing.lowering.findings import Refusal, Remarks
from spikeserve.importing.lowering.flows import INPUT, Currents, Flow, Signal, through
from spikeserve.importing.lowering.maps import pooling
from spikeserve.importing.lowering.rules.rule import Lowered, Rule, pair_of
from spikeserve.models.errors import InvalidNetwork
from spikeserve.models.layers import Pool, Window


@dataclass(frozen=True)
class _Pooling(Rule):
    needs: ClassVar[tuple[str, ...]] = ("kernel_size",)
    mode: ClassVar[Literal["max", "sum"]] = "sum"

    def examine(self, node: Node) -> None:
        super().examine(node)
        window = _window(node)
        if 0 in window.kernel or 0 in window.stride:
            raise Refusal("kernel_size and stride must be positive")

    def factor(self, window: Window) -> float:  # noqa: ARG002
        return 1.0

    def lower(self, node: Node, flow: Flow, remarks: Remarks) -> Lowered:
        if flow.flat and flow.shape[:2] != (1, 1):
            raise Refusal("a pool cannot read what was flattened")
        window = _window(node)
        if min(window.positions(flow.shape[:2])) < 1:
            raise Refusal(f"its window {window.kernel} is larger than the map {flow.shape[:2]}")
        if isinstance(flow, Signal) and flow.source != INPUT:
            return Lowered(self._behind_spikes(node, flow, window, remarks))
        if self.mode == "max":
            raise Refusal(
                "takes the largest of numbers that are no spikes; put it behind the neurons, where "
                "it is an OR of spikes, or use an average pool"
            )
        remarks.folded(
            "into the weights before it" if isinstance(flow, Currents) else "into the first weights"
        )
        one = pooling(flow.shape, window, self.factor(window))
        return Lowered(through(flow, one, node.name))

    def _behind_spikes(self, node: Node, flow: Signal, window: Window, remarks: Remarks) -> Signal:
        if not flow.spiking:
            raise Refusal("reads membrane potentials; only spikes can be pooled")
        if self.mode == "max" and (flow.factor <= 0).any():
            raise Refusal("takes the largest of spikes that a negative factor has turned around")
        try:
            pool = Pool(
                node.name, flow.shape, window.kernel, self.mode, window.stride, window.padding
            )
        except InvalidNetwork as error:
            raise Refusal(str(error).partition(": ")[2]) from error
        factor = self.factor(window)
        if factor != 1:
            remarks.folded(f"sums, the factor {factor:.4g} in the weights behind it")
        pooled = replace(flow, pools=(*flow.pools, pool))
        return pooled.scaled(pooled.factor * 0 + factor)


class SumPool(_Pooling):
    """``SumPool2d``."""


class AveragePool(_Pooling):
    """``AvgPool2d``: padding counts as zeros, as it does in NIR."""

    def factor(self, window: Window) -> float:
        return 1 / window.area


class MaxPool(_Pooling):
    """``MaxPool2d``, which modules have and NIR has not."""

    mode: ClassVar[Literal["max", "sum"]] = "max"


def _window(node: Node) -> Window:
    kernel = pair_of(node.parameters, "kernel_size")
    stride = pair_of(node.parameters, "stride") if "stride" in node.parameters else kernel
    return Window(kernel, stride, pair_of(node.parameters, "padding", 0))
