"""Spiking neurons of frameworks, whose own attributes say what they do.

Sources: snnTorch 1.0.0 ``_neurons/{leaky,lapicque,neurons}.py``, SpikingJelly 2.0.0
``activation_based/neuron/{base_node,lif,plif,integrate_and_fire}.py``, norse 1.1.0
``torch/functional/{lif_box,iaf,leaky_integrator_box}.py``, sinabs 3.1.3 ``layers/{lif,iaf,exp_leak,
functional/lif}.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from spikeserve.importing.dynamics.meaning import MOST_SPIKES
from spikeserve.importing.lowering.findings import Refusal
from spikeserve.importing.network import Floats
from spikeserve.importing.torch.frameworks import (
    NORSE,
    SINABS,
    SNNTORCH,
    SPIKINGJELLY,
    framework_of,
    is_neuron,
)

Parameters = dict[str, Any]
SECOND_ORDER = {
    NORSE: "is not first-order, or feeds back",
    SNNTORCH: "is not first-order, or feeds back",
}


def dynamics(module: nn.Module, *, membrane: bool) -> Parameters:
    """The fields of :class:`spikeserve.importing.network.Neurons`.

    Args:
        membrane: whether the potential is read, and not the spikes.

    Raises:
        Refusal: they do something that cannot be served.
    """
    reader = _READERS.get((framework_of(module) or "", type(module).__name__))
    if reader is None:
        raise Refusal(_unknown(module))
    found = reader(module)
    if membrane and found.get("spiking", True):
        if found["reset"] != "none":
            raise Refusal(
                "its membrane is read, and it is reset: read its spikes, or build it without reset "
                "(snnTorch: reset_mechanism='none') and train on"
            )
        found["spiking"] = False
    return found


def _unknown(module: nn.Module) -> str:
    framework = framework_of(module) or ""
    known = ", ".join(name for of, name in _READERS if of == framework)
    why = SECOND_ORDER.get(framework, "neurons that are not known")
    return f"{type(module).__name__}: {why}; use one of {known}"


def refusals(modules: Mapping[str, nn.Module]) -> str:
    """What stands in the way of neurons, by name, where nothing else can be said."""
    found = []
    for name, module in modules.items():
        if is_neuron(module):
            try:
                dynamics(module, membrane=False)
            except Refusal as refusal:
                found.append(f"; {name}: {refusal}")
    return "".join(found)


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


def _lapicque(module: nn.Module) -> Parameters:
    """v = (1 - dt / RC) v + I dt / C - s[t-1] threshold."""
    step = float(_number(module.time_step))
    resistance, capacitance = _number(module.R), _number(module.C)
    kind = ("subtract", "zero", "none")[int(_number(module.reset_mechanism_val))]
    if kind == "zero":
        raise Refusal(
            "reset_mechanism='zero' of Lapicque loses the current of the step behind a spike; use "
            "'subtract', or Leaky, and train on"
        )
    for name in ("inhibition", "state_quant"):
        if getattr(module, name):
            raise Refusal(f"{name} is not served; build the neurons without it")
    return _neurons(
        leak=1 - step / (resistance * capacitance),
        gain=step / capacitance,
        threshold=_number(module.threshold),
        reset=kind,
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


def _lif_box(module: nn.Module) -> Parameters:
    """v += dt / tau (I + v_leak - v), from v_leak on."""
    p: Any = module.p
    method = p.reset_method.__name__
    if method not in ("reset_value", "reset_subtract"):
        raise Refusal(f"reset_method {method} is not known; reset_value and reset_subtract are")
    return _li_box(module) | {
        "threshold": _number(p.v_th),
        "reset_to": _number(p.v_reset),
        "reset": "hard" if method == "reset_value" else "subtract",
        "spiking": True,
        "strict": True,
    }


def _li_box(module: nn.Module) -> Parameters:
    p: Any = module.p
    rate, rest = float(module.dt) * _number(p.tau_mem_inv), _number(p.v_leak)  # type: ignore[arg-type]
    return _neurons(
        leak=1 - rate, gain=rate, rest=rest, start=rest, threshold=1.0, reset="none", spiking=False
    )


def _iaf_norse(module: nn.Module) -> Parameters:
    p: Any = module.p
    rest = _number(p.v_reset)
    return _neurons(
        leak=1.0,
        gain=1.0,
        start=rest,
        reset_to=rest,
        threshold=_number(p.v_th),
        reset="hard",
        strict=True,
    )


def _lif_sinabs(module: nn.Module) -> Parameters:
    """v = alpha v + (1 - alpha) I, or I; several spikes, subtracted; a floor below it."""
    if module.alpha_syn_calculated is not None:
        raise Refusal("tau_syn: a current besides the potential is not served; train without it")
    leak = _number(module.alpha_mem_calculated)
    gain = 1 - leak if module.norm_input else np.ones_like(leak)
    floor = None if module.min_v_mem is None else _number(module.min_v_mem)
    if module.spike_fn is None:
        if floor is not None:
            raise Refusal("min_v_mem of what is read out is not served; leave it out")
        return _neurons(leak=leak, gain=gain, threshold=1.0, reset="none", spiking=False)
    threshold, most = _number(module.spike_threshold), _most_spikes(module.spike_fn)
    return _neurons(
        leak=leak,
        gain=gain,
        threshold=threshold,
        minimum=floor,
        max_spikes=most,
        reset=_reset_of_sinabs(module.reset_fn, threshold, most),
    )


def _most_spikes(function: Any) -> int:
    name = getattr(function, "__name__", type(function).__name__)
    if name == "MaxSpike" and function.max_num_spikes_per_bin is not None:
        return min(int(function.max_num_spikes_per_bin), MOST_SPIKES)
    if name in ("MultiSpike", "MaxSpike"):
        return MOST_SPIKES
    if name == "SingleSpike":
        return 1
    raise Refusal(f"spike_fn {name} is not known; SingleSpike, MultiSpike and MaxSpike are")


def _reset_of_sinabs(function: Any, threshold: Floats, most: int) -> str:
    match type(function).__name__:
        case "MembraneSubtract":
            amount = function.subtract_value
            if amount is not None and (threshold != amount).any():
                raise Refusal("subtract_value is not the threshold; leave it out and train on")
            return "subtract"
        case "MembraneReset":
            if function.reset_value:
                raise Refusal("reset_value is added at every step, spike or not; leave it 0")
            if most > 1:
                raise Refusal("MembraneReset takes several spikes at once; use SingleSpike with it")
            return "hard"
        case other:
            raise Refusal(f"reset_fn {other} is not known; MembraneSubtract and MembraneReset are")


def _neurons(**told: Any) -> Parameters:
    return {"rest": 0.0, "start": 0.0, "reset_to": 0.0} | told


def _number(value: Any) -> Floats:
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    return np.asarray(value, np.float64)


_READERS: dict[tuple[str, str], Callable[[nn.Module], Parameters]] = {
    (SNNTORCH, "Leaky"): _leaky,
    (SNNTORCH, "Lapicque"): _lapicque,
    (SPIKINGJELLY, "IFNode"): _if,
    (SPIKINGJELLY, "LIFNode"): _lif,
    (SPIKINGJELLY, "ParametricLIFNode"): _plif,
    (NORSE, "LIFBoxCell"): _lif_box,
    (NORSE, "LIBoxCell"): _li_box,
    (NORSE, "IAFCell"): _iaf_norse,
    (NORSE, "IAF"): _iaf_norse,
    **{
        (SINABS, f"{name}{squeeze}"): _lif_sinabs
        for name in ("LIF", "IAF", "ExpLeak")
        for squeeze in ("", "Squeeze")
    },
}
