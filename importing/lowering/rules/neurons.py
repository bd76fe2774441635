"""Neurons, as NIR declares them, and those of modules, whose dynamics are known."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, cast

import numpy as np

from spikeserve.importing.graph import Node
from spikeserve.importing.lowering.findings import Refusal, Remarks
from spikeserve.importing.lowering.flows import Currents, Flow, Signal, signal_of
from spikeserve.importing.lowering.rules.rule import Lowered, Rule, by_channel, numbers
from spikeserve.importing.network import Declared, Floats, Neurons
from spikeserve.models.layers import Shape

LEAKY, SPIKING = ("LIF", "LI"), ("IF", "LIF", "Threshold")
THRESHOLD = {"Threshold": "threshold"}
SPREAD = 1e-6
"""Relative difference of time constants that is rounding."""


@dataclass(frozen=True)
class DeclaredNeurons(Rule):
    """``IF``, ``LIF``, ``LI``, ``I`` and ``Threshold``."""

    unbounded: ClassVar[tuple[str, ...]] = ("tau", "r")  # beta = 1 is written as infinite

    @property
    def _needed(self) -> tuple[str, ...]:
        needed = ("tau", "r", "v_leak") if self.kind in LEAKY else ("r",)
        if self.kind == "Threshold":
            return ("threshold",)
        return (*needed, "v_threshold") if self.kind in SPIKING else needed

    def examine(self, node: Node) -> None:
        super().examine(node)
        if missing := [name for name in self._needed if name not in node.parameters]:
            raise Refusal(f"lacks {', '.join(missing)}; the file is incomplete: export it again")
        if self.kind in LEAKY:
            tau, r = numbers(node.parameters, "tau"), numbers(node.parameters, "r")
            if (tau <= 0).any():
                raise Refusal(
                    f"tau reaches {tau.min():.4g}; time constants are positive: clamp them and "
                    "train on"
                )
            if np.isinf(tau).any() != np.isinf(r).any():
                raise Refusal("tau and r: one of them is infinite, the other is not")
        threshold = THRESHOLD.get(self.kind, "v_threshold")
        if self.kind in SPIKING and (numbers(node.parameters, threshold) <= 0).any():
            raise Refusal(
                f"{threshold} reaches {numbers(node.parameters, threshold).min():.4g}; thresholds "
                "are positive"
            )

    def lower(self, node: Node, flow: Flow, remarks: Remarks) -> Lowered:
        shape, flat = flow.shape, flow.flat

        def number(name: str, default: float | None = None) -> Floats | None:
            if name in node.parameters:
                return by_channel(numbers(node.parameters, name), shape, flat, name)
            return None if default is None else np.full(shape[2], default)

        tau, r = number("tau"), number("r", 1.0)
        assert r is not None
        if tau is not None and np.isinf(tau).any():
            if not np.isinf(tau).all():
                raise Refusal("tau is infinite for some channels; nothing leaks there: one for all")
            remarks.approximate(
                "tau is infinite (beta = 1): read as neurons that do not leak, whose currents "
                "count as they are"
            )
            tau, r = None, None
        if tau is not None and _spread(tau) > SPREAD:
            remarks.approximate(
                f"tau differs by channel ({tau.min():.4g}…{tau.max():.4g}); a layer has one leak"
            )
        declared = Declared(
            node.name,
            shape,
            cast(
                "Any",
                {"LIF": "IF", "LI": "I"}.get(self.kind, self.kind) if r is None else self.kind,
            ),
            tau,
            np.full(shape[2], np.nan) if r is None else r,
            cast("Floats", number("v_leak", 0.0)),
            number(THRESHOLD.get(self.kind, "v_threshold")) if self.kind in SPIKING else None,
            number("v_reset") if self.kind in SPIKING else None,
        )
        return _lowered(node, flow, declared, spiking=self.kind in SPIKING)


@dataclass(frozen=True)
class Dynamics(Rule):
    """``Neurons`` of a module: parameters are the fields of :class:`Neurons`."""

    def lower(self, node: Node, flow: Flow, remarks: Remarks) -> Lowered:  # noqa: ARG002
        shape = flow.shape
        given: dict[str, Any] = dict(node.parameters)
        for field in fields(Neurons):
            value = given.get(field.name)
            if field.name in given and isinstance(value, np.ndarray | float | int):
                if isinstance(value, bool) or field.name == "max_spikes":
                    continue
                given[field.name] = by_channel(
                    np.asarray(value, np.float64), shape, flow.flat, field.name
                )
        neurons = Neurons(name=node.name, shape=shape, **given)
        if neurons.spiking and (neurons.threshold <= 0).any():
            raise Refusal("thresholds are positive")
        return _lowered(node, flow, neurons, spiking=neurons.spiking)


def _lowered(node: Node, flow: Flow, neurons: Declared | Neurons, *, spiking: bool) -> Lowered:
    if isinstance(flow, Signal) and not flow.spiking:
        raise Refusal("reads membrane potentials; only spikes or currents may go to neurons")
    _check_places(flow)
    return Lowered(signal_of(node.name, flow.shape, flat=flow.flat, spiking=spiking), neurons)


def _check_places(flow: Flow) -> None:
    shape: Shape = flow.shape
    if isinstance(flow, Currents) and min(shape) < 1:
        raise Refusal(f"receives an empty map {shape}")


def _spread(values: Floats) -> float:
    return float(np.ptp(values) / np.abs(values).max())
