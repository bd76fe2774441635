"""Spiking neurons of frameworks, whose own attributes say what they do.

Sources: snnTorch 1.0.0 ``_neurons/{leaky,neurons}.py``, SpikingJelly 2.0.0
``activation_based/neuron/{base_node,lif,plif,integrate_and_fire}.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor, nn

from spikeserve.importing.findings import Refusal
from spikeserve.importing.network import Floats

Parameters = dict[str, Any]
SNNTORCH, SPIKINGJELLY = "snntorch", "spikingjelly"
FRAMEWORKS = (SNNTORCH, SPIKINGJELLY)


def framework_of(module: nn.Module) -> str | None:
    """The framework that a module's class, or a class that it is derived from, comes from."""
    roots = [base.__module__.partition(".")[0] for base in type(module).__mro__]
    return next((name for name in FRAMEWORKS if name in roots), None)


def is_neuron(module: nn.Module) -> bool:
    """Whether a framework counts the module among its spiking neurons, known here or not."""
    bases = {base.__name__ for base in type(module).__mro__}
    return framework_of(module) is not None and not bases.isdisjoint(
        ("SpikingNeuron", "BaseNode", "SimpleBaseNode")
    )


def dynamics(module: nn.Module, *, membrane: bool) -> Parameters:
    """The fields of :class:`spikeserve.importing.network.Neurons`.

    Args:
        membrane: whether the potential is read, and not the spikes.

    Raises:
        Refusal: they do something that cannot be served.
    """
    reader = _READERS.get((framework_of(module) or "", type(module).__name__))
    if reader is None:
        known = ", ".join(sorted({name for _, name in _READERS}))
        raise Refusal(f"{type(module).__name__}: neurons that are not known; use one of {known}")
    found = reader(module)
    if membrane:
        if found["reset"] != "none":
            raise Refusal(
                "its membrane is read, and it is reset: read its spikes, or build it without reset "
                "(snnTorch: reset_mechanism='none') and train on"
            )
        found["spiking"] = False
    return found


def _leaky(module: nn.Module) -> Parameters:
    """v = beta v + I - s[t-1] threshold; "zero" is seen by the next step as a reset at once."""
    for name in ("inhibition", "state_quant"):
        if getattr(module, name):
            raise Refusal(f"{name} is not served; build the neurons without it")
    if (_number(module.graded_spikes_factor) != 1).any():
        raise Refusal("graded_spikes_factor is not 1; put the factor into the weights behind")
    kind = ("subtract", "zero", "none")[int(_number(module.reset_mechanism_val))]
    if kind == "subtract" and not module.reset_delay:
        raise Refusal(
            "reset_delay=False takes the threshold off twice where a potential stays above it; "
            "leave reset_delay as it is, or use reset_mechanism='zero', and train on"
        )
    return _neurons(
        leak=np.clip(_number(module.beta), 0, 1),
        gain=1.0,
        threshold=_number(module.threshold),
        reset="hard" if kind == "zero" else kind,
        delayed=kind == "subtract",
        strict=True,
    )


def _if(module: nn.Module) -> Parameters:
    return _jelly(module, np.asarray(1.0), 1.0)


def _lif(module: nn.Module) -> Parameters:
    return _decaying(module, 1 / np.asarray(float(module.tau)))  # type: ignore[arg-type]


def _plif(module: nn.Module) -> Parameters:
    return _decaying(module, 1 / (1 + np.exp(-_number(module.w))))


def _decaying(module: nn.Module, rate: Floats) -> Parameters:
    """v += (I - (v - v_reset)) / tau, or I whole where the input does not decay."""
    return _jelly(module, 1 - rate, rate if module.decay_input else 1.0)


def _jelly(module: nn.Module, leak: Floats, gain: Floats | float) -> Parameters:
    """Potentials start at v_reset, or at 0 where it is None: then the threshold is subtracted."""
    v_reset: Any = module.v_reset
    rest = 0.0 if v_reset is None else float(v_reset)
    return _neurons(
        leak=leak,
        gain=gain,
        rest=rest,
        threshold=_number(module.v_threshold),
        start=rest,
        reset_to=rest,
        reset="subtract" if v_reset is None else "hard",
    )


def _neurons(**told: Any) -> Parameters:
    return {"rest": 0.0, "start": 0.0, "reset_to": 0.0} | told


def _number(value: Any) -> Floats:
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    return np.asarray(value, np.float64)


_READERS: dict[tuple[str, str], Callable[[nn.Module], Parameters]] = {
    (SNNTORCH, "Leaky"): _leaky,
    (SPIKINGJELLY, "IFNode"): _if,
    (SPIKINGJELLY, "LIFNode"): _lif,
    (SPIKINGJELLY, "ParametricLIFNode"): _plif,
}
