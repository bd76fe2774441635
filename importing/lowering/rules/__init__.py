"""What becomes of each kind of node: the same rules for ``check`` and for ``import``."""

from __future__ import annotations

from spikeserve.importing.lowering.rules.edges import Flatten, Input, Output
from spikeserve.importing.lowering.rules.neurons import DeclaredNeurons, Dynamics
from spikeserve.importing.lowering.rules.pools import AveragePool, MaxPool, SumPool
from spikeserve.importing.lowering.rules.refused import REFUSED, Refused
from spikeserve.importing.lowering.rules.rule import Rule
from spikeserve.importing.lowering.rules.weights import (
    Convolution,
    FullyConnected,
    Normalisation,
    Scaling,
)

RULES: dict[str, Rule] = {
    rule.kind: rule
    for rule in (
        Input("Input"),
        Output("Output"),
        Flatten("Flatten"),
        Convolution("Conv2d"),
        FullyConnected("Affine"),
        FullyConnected("Linear"),
        Scaling("Scale"),
        Normalisation("BatchNorm2d"),
        AveragePool("AvgPool2d"),
        SumPool("SumPool2d"),
        MaxPool("MaxPool2d"),
        DeclaredNeurons("IF"),
        DeclaredNeurons("LIF"),
        DeclaredNeurons("LI"),
        DeclaredNeurons("I"),
        DeclaredNeurons("Threshold"),
        Dynamics("Neurons"),
        *(Refused(kind) for kind in REFUSED),
    )
}


def rule_of(kind: str) -> Rule:
    """The rule of a kind; one that refuses, where nobody has heard of it."""
    return RULES.get(kind) or Refused(kind)
