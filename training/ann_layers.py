"""A state dict's layers, and the batch-norms behind them, in the order in which they are run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

STATISTICS = ("running_mean", "running_var")
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class FoundLayer:
    """One layer of the ANN, and the batch-norm behind it."""

    name: str
    weight: Tensor
    bias: Tensor
    norm: dict[str, Tensor] | None


def layers_of(state: dict[str, Tensor], *, ordered: bool) -> tuple[list[FoundLayer], list[str]]:
    """Convolutions and linear layers with the batch-norms behind them, and what else there is,
    which no plan has.

    Args:
        ordered: whether the state dict has the order of the modules. A safetensors file has none:
            names are counted then, convolutions first.
    """
    modules: dict[str, dict[str, Tensor]] = {}
    for key in state if ordered else sorted(state, key=_counted):
        name, _, part = key.rpartition(".")
        if part != COUNTER:
            modules.setdefault(name, {})[part] = state[key]
    weighted = {name: parts for name, parts in modules.items() if _has_weights(parts)}
    norms = {name: parts for name, parts in modules.items() if _is_norm(parts)}
    names = list(weighted)
    if not ordered:
        names.sort(key=lambda name: -weighted[name]["weight"].dim())
    behind = _behind(modules, {name: weighted[name] for name in names}, norms)
    lost = norms.keys() - behind.values()
    rest = [f"{name}: a batch-norm behind no layer with weights" for name in norms if name in lost]
    for name, parts in modules.items():
        if name not in weighted and name not in norms:
            rest += [f"{name}.{part} belongs to no layer that a plan has" for part in parts]
    found = []
    for name in names:
        weight = weighted[name]["weight"]
        bias = weighted[name].get("bias", torch.zeros(len(weight)))
        found.append(
            FoundLayer(name, weight, bias, norms[behind[name]] if name in behind else None)
        )
    return found, rest


def _has_weights(parts: dict[str, Tensor]) -> bool:
    return (
        "weight" in parts and parts["weight"].dim() in (2, 4) and parts.keys() <= {"weight", "bias"}
    )


def _is_norm(parts: dict[str, Tensor]) -> bool:
    return set(STATISTICS) <= parts.keys() <= {*STATISTICS, "weight", "bias"}


def _behind(
    modules: dict[str, Any], weighted: dict[str, dict[str, Tensor]], norms: dict[str, Any]
) -> dict[str, str]:
    """Of each layer the batch-norm behind it.

    That is the next one, where this gives every batch-norm a layer with as many channels. Where
    modules are kept in another order than they are run in, it is the one that as many come before.
    """
    near: dict[str, str] = {}
    last = None
    for name in modules:
        if name in weighted:
            last = name
        elif name in norms and last is not None:
            near.setdefault(last, name)
    hidden = list(weighted)[:-1]
    convolutions = [name for name in hidden if weighted[name]["weight"].dim() == 4]
    counted = [dict(zip(some, norms, strict=False)) for some in (hidden, convolutions)]
    for each, some in zip((near, *counted), (hidden, hidden, convolutions), strict=True):
        complete = len(each) == len(norms) and (each is near or len(some) == len(norms))
        if complete and all(
            name in some and len(weighted[name]["weight"]) == len(norms[norm]["running_mean"])
            for name, norm in each.items()
        ):
            return each
    return near


def _counted(name: str) -> list[tuple[int, str]]:
    """So that layer 10 comes behind layer 9."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
