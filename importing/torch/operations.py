"""Functions and tensor methods of a forward pass: layers, or what leaves values alone."""

from __future__ import annotations

import operator
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import fx, nn

from spikeserve.importing.lowering.findings import Refusal

ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "add_")
SCALINGS = (operator.mul, operator.imul, torch.mul, "mul", operator.truediv, torch.div, "div")
DIVISIONS = (operator.truediv, torch.div, "div")
UNCHANGED = (
    "contiguous", "float", "clone", "detach", "to",
    "unsqueeze", "repeat", "expand", "unflatten", torch.unsqueeze, F.dropout, F.dropout2d,
)  # fmt: skip
OVER_TIME = (torch.mean, torch.sum, "mean", "sum")
STACKING = (torch.stack,)
RESHAPING = (torch.flatten, torch.reshape, "flatten", "view", "reshape")
ANALOG: dict[Any, type[nn.Module]] = {
    F.relu: nn.ReLU, torch.relu: nn.ReLU, "relu": nn.ReLU, F.leaky_relu: nn.LeakyReLU,
    F.gelu: nn.GELU, torch.sigmoid: nn.Sigmoid, torch.tanh: nn.Tanh,
}  # fmt: skip
POOLS: dict[Any, type[nn.Module]] = {
    F.max_pool2d: nn.MaxPool2d,
    torch.max_pool2d: nn.MaxPool2d,
    F.avg_pool2d: nn.AvgPool2d,
}
MAP = 4
"""Axes of a batch of maps."""


def module_of(node: fx.Node) -> nn.Module | None:
    """The layer that a function is, where it is one."""
    analog = ANALOG.get(node.target)
    if analog is not None:
        return analog()
    kind = POOLS.get(node.target)
    return None if kind is None else kind(*node.args[1:], **node.kwargs)


def reshaping(node: fx.Node) -> Literal["row", "same"]:
    """Whether maps become rows, or only batch and time are folded.

    Raises:
        Refusal: something else is done to them.
    """
    arguments = [*node.args[1:], *node.kwargs.values()]
    if node.target in (torch.flatten, "flatten"):
        start = node.kwargs.get("start_dim", node.args[1] if len(node.args) > 1 else 0)
        end = node.kwargs.get("end_dim", node.args[2] if len(node.args) > 2 else -1)
        if (start, end) == (0, 1):
            return "same"
        if start == 0 or end != -1:
            raise Refusal(
                f"flatten from axis {start} to {end}; flatten from axis 1 on, to the last"
            )
        return "row"
    if len(arguments) == 1 and isinstance(arguments[0], list | tuple):
        arguments = list(arguments[0])
    if len(arguments) < 2:
        raise Refusal("mixes inputs with their values; reshape to (batch, -1)")
    return "same" if len(arguments) >= MAP else "row"


def factor_of(node: fx.Node) -> float | None:
    """The number that a value is multiplied by; None where it is no number."""
    numbers = [one for one in node.args[:2] if isinstance(one, int | float)]
    if len(numbers) != 1 or isinstance(numbers[0], bool):
        return None
    if node.target in DIVISIONS:
        return 1 / float(numbers[0]) if node.args[1] is numbers[0] and numbers[0] else None
    return float(numbers[0])


def is_over_time(node: fx.Node) -> bool:
    """Whether it is a sum or mean over the first axes, time's."""
    axis = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    if isinstance(axis, list | tuple) and len(axis) == 1:
        axis = axis[0]
    return node.target in OVER_TIME and axis in (0, 1)
