"""What the user's module itself puts out, timestep by timestep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from spikeserve.importing.errors import ImportRefused
from spikeserve.importing.torch.frameworks import NORSE, SINABS, framework_of, is_neuron
from spikeserve.importing.torch.modules import LAYERS
from spikeserve.importing.torch.neurons import refusals

Run = Callable[[Tensor], Tensor]
"""Resets all state and puts out ``[T, N, …]`` for the example."""
RESETS = ("reset_mem", "reset_states", "reset")


def reset(module: nn.Module) -> None:
    """Take all state away, as the frameworks' own functions do."""
    for part in module.modules():
        for name in RESETS:
            if callable(method := getattr(part, name, None)):
                method()
                break


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode while it is open, and without state; afterwards as it was."""
    training = {part: part.training for part in module.modules()}
    module.eval()
    reset(module)
    try:
        with torch.no_grad():
            yield
    finally:
        for part, was in training.items():
            part.training = was
        reset(module)


def recorded(module: nn.Module, example: Tensor, timesteps: int, run: Run | None = None) -> Tensor:
    """Outputs ``[T, N, K]``; ``[1, N, K]`` where the module adds its timesteps up itself.

    Args:
        example: images ``[N, C, H, W]`` or ``[N, C]``, or frames ``[N, T, C, H, W]``.

    Raises:
        ImportRefused: they have another form.
    """
    with evaluating(module):
        try:
            found = _put_out(module, example, timesteps) if run is None else _first(run(example))
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
            raise ImportRefused(
                f"the module cannot be run on the example {tuple(example.shape)} "
                f"({type(error).__name__}: {error}){refusals(dict(module.named_modules()))}"
            ) from error
    if found.shape[:2] not in ((timesteps, len(example)), (1, len(example))) or found.ndim < 3:
        raise ImportRefused(
            f"the module put out {tuple(found.shape)}; [{timesteps}, {len(example)}, classes] is "
            "expected: what the last layer puts out at each timestep; run= can say how"
        )
    return found.flatten(2)


def _put_out(module: nn.Module, example: Tensor, timesteps: int) -> Tensor:
    rows = len(example)
    constant = example.ndim != FRAMES
    sequence = example.expand(timesteps, *example.shape) if constant else example.transpose(0, 1)
    parts = list(module.modules())
    if any(_is_sinabs(part) for part in parts):
        return _sinabs(module, sequence.transpose(0, 1)).transpose(0, 1)
    if not is_single_step(module):
        try:
            found = _first(module(sequence))
            return found if found.shape[:2] == (timesteps, rows) else found[None]
        except (RuntimeError, ValueError, TypeError):
            if not constant:
                raise
            reset(module)  # it repeats its inputs itself
            found = _first(module(example))
            return found if found.shape[:2] == (timesteps, rows) else found[None]
    if type(module).__name__ == "SequentialState":
        return _stateful(module, sequence)
    found = _first(module(sequence[0]))
    if found.shape[:2] == (timesteps, rows) and found.ndim > 2:
        return found
    return torch.stack([found, *(_first(module(frame)) for frame in sequence[1:])])


FRAMES = 5
"""Axes of an example whose inputs differ by timestep."""


def _sinabs(module: nn.Module, sequence: Tensor) -> Tensor:
    """Outputs ``[N, T, …]`` of neurons that know time, or that find it in the batch's axis."""
    squeezed = [part for part in module.modules() if hasattr(part, "num_timesteps")]
    squeezed = [part for part in squeezed if hasattr(part, "batch_size") and is_neuron(part)]
    if not squeezed:
        return _first(module(sequence))
    before = [(part, part.batch_size, part.num_timesteps) for part in squeezed]
    for part in squeezed:
        part.batch_size, part.num_timesteps = sequence.shape[:2]  # type: ignore[assignment]
    try:
        found = _first(module(sequence.flatten(0, 1)))
        return found.reshape(*sequence.shape[:2], *found.shape[1:])
    finally:
        for part, rows, steps in before:
            part.batch_size, part.num_timesteps = rows, steps


def _stateful(module: nn.Module, sequence: Tensor) -> Tensor:
    state, found = None, []
    for frame in sequence:
        put_out, state = module(frame, state)
        found.append(_first(put_out))
    return torch.stack(found)


def is_single_step(module: nn.Module) -> bool:
    """Whether its layers are called once a timestep."""
    return not any(
        getattr(part, "step_mode", "s") == "m" or _is_sequence(part) or _is_sinabs(part)
        for part in module.modules()
    )


def _is_sinabs(part: nn.Module) -> bool:
    return framework_of(part) == SINABS and is_neuron(part)


def _is_sequence(part: nn.Module) -> bool:
    """Whether it is norse's, and takes time with it."""
    bases = {base.__name__ for base in type(part).__mro__}
    return framework_of(part) == NORSE and not bases.isdisjoint(("SNN", "Lift"))


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
            row = isinstance(part, nn.Linear | nn.BatchNorm1d) or not isinstance(part, LAYERS)
            seen[name] = tuple(inputs[0].shape[-1 if row else -3 :])

        return look

    handles = [
        part.register_forward_pre_hook(hook(name))
        for name, part in module.named_modules()
        if isinstance(part, LAYERS) or type(part).__name__ == "VotingLayer"
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
