"""State dicts on disk: written whole or not at all, and checked when read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from spikeserve.training.errors import TrainingError

PARTIAL = ".partial"
"""Suffix of a file that is being written; a killed process leaves it behind."""


def save_atomically(state: dict[str, Any], path: Path) -> None:
    """``torch.save`` that replaces ``path`` only by a complete file."""
    partial = path.with_suffix(PARTIAL)
    torch.save(state, partial)
    partial.replace(path)


def read_state(path: Path, device: torch.device) -> dict[str, Any]:
    """The state dict at ``path``, its tensors on ``device``.

    Raises:
        TrainingError: the file is damaged.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location=device)
    except Exception as error:  # torch raises whatever its readers raise
        raise TrainingError(f"{path} is damaged: {error}") from error
    if not isinstance(state, dict):
        raise TrainingError(f"{path} holds no weights")
    return state


def load_into(model: nn.Module, state: dict[str, Any], path: Path) -> None:
    """Set ``model``'s weights to ``state``, read from ``path``.

    Raises:
        TrainingError: they are another network's.
    """
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        raise TrainingError(f"{path} holds no weights of this network: {error}") from error
