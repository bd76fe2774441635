"""Layers of ``torch.nn``, and of frameworks' classes derived from them, as nodes of a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor, nn

from spikeserve.importing.lowering.findings import Refusal
from spikeserve.importing.torch.neurons import Parameters

Known = tuple[str, Parameters]
LEFT_OUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity)
ANALOG = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.ELU)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
POOLS = (nn.AvgPool2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d)
LAYERS = (nn.Conv2d, nn.Linear, nn.Flatten, nn.LPPool2d, *NORMS, *POOLS)
TIME_ONLY = ("FlattenTime", "UnflattenTime")
VOTING = "VotingLayer"


CEILED = "ceil_mode is not served; pad or crop the maps so that windows fit"
MISTAKEN = {
    "SpikingMaxPooling2dLayer": "picks the neuron that has spiked most; use SumPool2d or AvgPool2d",
    "LILinearCell": "keeps a current besides its potential; use Linear and LIBoxCell",
}


def is_left_out(module: nn.Module) -> bool:
    """Whether the module does nothing to a timestep once it is trained."""
    name = type(module).__name__
    return isinstance(module, LEFT_OUT) or name == "Dropout" or name in TIME_ONLY


def is_weightless(module: nn.Module) -> bool:
    """Whether it may be used as often as one likes in a timestep."""
    return isinstance(module, (nn.Flatten, nn.LPPool2d, *POOLS))


def is_layer(module: nn.Module) -> bool:
    return isinstance(module, LAYERS) or type(module).__name__ == VOTING


def layer(module: nn.Module, size: tuple[int, ...]) -> Known:
    """Kind and parameters of a node.

    Args:
        size: ``[C, H, W]`` or ``[C]`` of what the module received from the example.

    Raises:
        Refusal: it cannot be served; says what to do.
    """
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return "AvgPool2d", _adaptive_pool(module, size)
    if type(module).__name__ == VOTING:
        return "Affine", _votes(int(module.voting_size), size[-1])  # type: ignore[arg-type]
    for base, kind, parameters in _KINDS:
        if isinstance(module, base):
            return kind, parameters(module)
    name = type(module).__name__
    if isinstance(module, ANALOG):
        raise Refusal(
            f"{name} is no spiking neuron: a network of them is the start of a training, "
            "spiketrain all RECIPE --from-ann FILE"
        )
    hint = MISTAKEN.get(name)
    if hint is not None:
        raise Refusal(f"{name}: {hint}")
    raise Refusal(f"{name} is not known; Conv2d, Linear, BatchNorm, pools and Flatten are")


def _convolution(module: nn.Conv2d) -> Parameters:
    if module.padding_mode != "zeros":
        raise Refusal(f"padding_mode {module.padding_mode!r}; pad with zeros and train on")
    padding = module.padding
    return _weights(module) | {
        "stride": np.asarray(module.stride),
        "padding": padding if isinstance(padding, str) else np.asarray(padding),
        "dilation": np.asarray(module.dilation),
        "groups": module.groups,
    }


def _weights(module: nn.Conv2d | nn.Linear) -> Parameters:
    found = {"weight": array(module.weight)}
    return found if module.bias is None else found | {"bias": array(module.bias)}


def _normalisation(module: nn.BatchNorm1d | nn.BatchNorm2d) -> Parameters:
    if module.running_mean is None or module.running_var is None:
        raise Refusal("keeps no running statistics; train with track_running_stats=True")
    found: Parameters = {
        "mean": array(module.running_mean),
        "var": array(module.running_var),
        "eps": module.eps,
    }
    if module.affine:
        found |= {"weight": array(module.weight), "bias": array(module.bias)}
    return found


def _max_pool(module: nn.MaxPool2d) -> Parameters:
    if np.any(np.asarray(module.dilation) != 1) or module.return_indices:
        raise Refusal("dilation and return_indices are not served; pool without them")
    return _window(module)


def _average_pool(module: nn.AvgPool2d) -> Parameters:
    if module.divisor_override is not None:
        raise Refusal("divisor_override is not served; put the factor into the weights behind")
    if np.any(np.asarray(module.padding)) and not module.count_include_pad:
        raise Refusal("count_include_pad=False is not served; pool without padding")
    return _window(module)


def _sum_pool(module: nn.LPPool2d) -> Parameters:
    """sinabs' SumPool2d: the sum of a window's magnitudes, which spikes are."""
    if module.norm_type != 1:
        raise Refusal(f"norm_type {module.norm_type}; only sums (1) are served")
    stride = module.kernel_size if module.stride is None else module.stride
    if module.ceil_mode:
        raise Refusal(CEILED)
    return {"kernel_size": np.asarray(module.kernel_size), "stride": np.asarray(stride)}


def _votes(size: int, neurons: int) -> Parameters:
    """SpikingJelly's VotingLayer: each class is the mean of ``size`` neurons."""
    if not size or neurons % size:
        raise Refusal(f"{neurons} neurons vote in groups of {size}; groups must be full")
    return {"weight": np.repeat(np.eye(neurons // size), size, axis=1) / size}


def _flatten(module: nn.Flatten) -> Parameters:
    if module.end_dim != -1:
        raise Refusal(f"end_dim {module.end_dim}; a map is flattened as a whole: leave end_dim")
    return {}


def _window(module: nn.AvgPool2d | nn.MaxPool2d) -> Parameters:
    if module.ceil_mode:
        raise Refusal(CEILED)
    return {
        name: np.asarray(getattr(module, name)) for name in ("kernel_size", "stride", "padding")
    }


def _adaptive_pool(module: nn.AdaptiveAvgPool2d, size: tuple[int, ...]) -> Parameters:
    asked: Any = module.output_size
    wanted = (asked, asked) if isinstance(asked, int) or asked is None else tuple(asked)
    if len(size) != 3:
        raise Refusal(f"receives {size}; a map (channels, height, width) is expected")
    out = [have if want is None else want for want, have in zip(wanted, size[1:], strict=True)]
    if any(have % want for want, have in zip(out, size[1:], strict=True)):
        raise Refusal(f"windows of several sizes make {out} of {size[1:]}; use AvgPool2d")
    kernel = np.asarray([have // want for want, have in zip(out, size[1:], strict=True)])
    return {"kernel_size": kernel, "stride": kernel}


def array(tensor: Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    found: np.ndarray[Any, np.dtype[np.float64]] = tensor.detach().cpu().double().numpy()
    return found


_KINDS: tuple[tuple[type[nn.Module], str, Callable[[Any], Parameters]], ...] = (
    (nn.Conv2d, "Conv2d", _convolution),
    (nn.Linear, "Affine", _weights),
    (nn.BatchNorm1d, "BatchNorm2d", _normalisation),
    (nn.BatchNorm2d, "BatchNorm2d", _normalisation),
    (nn.MaxPool2d, "MaxPool2d", _max_pool),
    (nn.AvgPool2d, "AvgPool2d", _average_pool),
    (nn.LPPool2d, "SumPool2d", _sum_pool),
    (nn.Flatten, "Flatten", _flatten),
)
