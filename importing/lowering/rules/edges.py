"""Where a graph begins and ends, and what only changes how values stand."""

from __future__ import annotations

from dataclasses import dataclass, replace

from spikeserve.importing.graph import Node
from spikeserve.importing.lowering.findings import Remarks
from spikeserve.importing.lowering.flows import Flow
from spikeserve.importing.lowering.rules.rule import Lowered, Rule


@dataclass(frozen=True)
class Input(Rule):
    """Its shape is found where the first weights are
    (:mod:`spikeserve.importing.lowering.shapes`)."""

    def lower(self, node: Node, flow: Flow, remarks: Remarks) -> Lowered:  # noqa: ARG002
        return Lowered(flow)


@dataclass(frozen=True)
class Output(Rule):
    """Stored shapes are not believed; what flows in is what is put out."""

    def lower(self, node: Node, flow: Flow, remarks: Remarks) -> Lowered:  # noqa: ARG002
        return Lowered(flow)


@dataclass(frozen=True)
class Flatten(Rule):
    """Values stand in a row from now on, channels first."""

    def lower(self, node: Node, flow: Flow, remarks: Remarks) -> Lowered:  # noqa: ARG002
        return Lowered(replace(flow, flat=True))
