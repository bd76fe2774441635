"""What the user's module itself puts out, timestep by timestep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from spikeserve.importing.errors import ImportRefused
from spikeserve.importing.torch.modules import LAYERS

Run = Callable[[Tensor], Tensor]
"""Resets all state and puts out ``[T, N, …]`` for inputs ``[N, C, H, W]``."""
RESETS = ("reset_mem", "reset")


def reset(module: nn.Module) -> None:
    """Take all state away, as the frameworks' own functions do."""
    for part in module.modules():
        for name in RESETS:
            if callable(method := getattr(part, name, None)):
                method()
                break


def recorded(module: nn.Module, inputs: Tensor, timesteps: int, run: Run | None = None) -> Tensor:
    """Outputs ``[T, N, K]`` of the module in evaluation mode.

    Raises:
        ImportRefused: they have another form.
    """
    module.eval()
    reset(module)
    with torch.no_grad():
        if run is not None:
            found = run(inputs)
        elif _is_multi_step(module):
            found = _first(module(inputs.expand(timesteps, *inputs.shape)))
        else:
            found = _first(module(inputs))
            if found.shape[:2] != (timesteps, len(inputs)) or found.ndim < 3:
                steps = [found, *(_first(module(inputs)) for _ in range(timesteps - 1))]
                found = torch.stack(steps)
    reset(module)
    if found.shape[:2] != (timesteps, len(inputs)):
        raise ImportRefused(
            f"the module put out {tuple(found.shape)}; [{timesteps}, {len(inputs)}, classes] is "
            "expected: what the last layer puts out at each timestep, before anything is averaged"
        )
    return found.flatten(2)


def _is_multi_step(module: nn.Module) -> bool:
    return any(getattr(part, "step_mode", "s") == "m" for part in module.modules())


def _first(found: Any) -> Tensor:
    while isinstance(found, tuple):
        found = found[0]
    if isinstance(found, list):
        found = torch.stack(found)
    if not isinstance(found, Tensor):
        raise ImportRefused(f"the module puts out {type(found).__name__}; a tensor is expected")
    return found


@contextmanager
def sizes_seen(module: nn.Module) -> Iterator[dict[str, tuple[int, ...]]]:
    """What layers receive while it is open, ``[C, H, W]`` or ``[C]``, by the layer's name."""
    seen: dict[str, tuple[int, ...]] = {}

    def hook(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def look(part: nn.Module, inputs: tuple[Any, ...]) -> None:
            row = isinstance(part, nn.Linear | nn.BatchNorm1d)
            seen[name] = tuple(inputs[0].shape[-1 if row else -3 :])

        return look

    handles = [
        part.register_forward_pre_hook(hook(name))
        for name, part in module.named_modules()
        if isinstance(part, LAYERS)
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
