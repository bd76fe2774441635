"""Kinds that are known, and cannot be served."""

from __future__ import annotations

from dataclasses import dataclass

from spikeserve.importing.graph import Node
from spikeserve.importing.lowering.findings import Refusal
from spikeserve.importing.lowering.rules.rule import Rule

SECOND_ORDER = (
    "a second-order synapse keeps a current besides the potential; use first-order neurons (LIF)"
)
REFUSED = {
    "CubaLIF": f"CubaLIF: {SECOND_ORDER}",
    "CubaLI": f"CubaLI: {SECOND_ORDER}",
    "Delay": "Delay: spikes arrive in the timestep they are fired in; train without delays",
    "Conv1d": "Conv1d: sequences in one dimension are not served; use Conv2d with a height of 1",
    "NIRGraph": "nested NIRGraph: flatten the module before it is exported; recurrent ones are not "
    "served",
}


@dataclass(frozen=True)
class Refused(Rule):
    """Says why."""

    def examine(self, node: Node) -> None:
        raise Refusal(
            REFUSED.get(
                node.kind,
                f"{node.kind!r} is not known; Conv2d, Affine, Linear, Scale, Flatten, pools, IF, "
                "LIF, LI, I and Threshold are",
            )
        )
