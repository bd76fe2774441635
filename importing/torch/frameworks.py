"""Which framework a module comes from, told by the names of its classes."""

from __future__ import annotations

from torch import nn

SNNTORCH, SPIKINGJELLY, NORSE, SINABS = "snntorch", "spikingjelly", "norse", "sinabs"
FRAMEWORKS = (SNNTORCH, SPIKINGJELLY, NORSE, SINABS)
NEURONS = (
    "SpikingNeuron", "BaseNode", "SimpleBaseNode",
    "SNN", "SNNCell", "SNNRecurrent", "SNNRecurrentCell", "StatefulLayer",
)  # fmt: skip
"""The frameworks' classes that all their neurons are derived from."""


def framework_of(module: nn.Module) -> str | None:
    """The framework that a module's class, or a class that it is derived from, comes from."""
    roots = [base.__module__.partition(".")[0] for base in type(module).__mro__]
    return next((name for name in FRAMEWORKS if name in roots), None)


def is_neuron(module: nn.Module) -> bool:
    """Whether a framework counts the module among its spiking neurons, known here or not."""
    framework, bases = framework_of(module), {base.__name__ for base in type(module).__mro__}
    cell = framework == NORSE and type(module).__name__.endswith("Cell")
    return cell or (framework is not None and not bases.isdisjoint(NEURONS))
