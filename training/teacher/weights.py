"""A finished teacher on disk: its weights in float16, and what it was trained on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from spikeserve.training.errors import TrainingError
from spikeserve.training.teacher.network import Teacher
from spikeserve.training.weights_file import PARTIAL, load_into

WEIGHTS = "teacher.safetensors"
ABOUT = "teacher"  # the key of the file's metadata


@dataclass(frozen=True)
class About:
    """What a recipe must know of its teacher: the network, and which images it never saw."""

    dataset: str
    classes: int
    widths: tuple[int, int, int]
    held_out: int
    seed: int
    accuracy: float
    """Share of the held-out images that it gets right."""


def save_teacher(model: Teacher, about: About, path: Path) -> None:
    """Write the weights, whole or not at all."""
    halves = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
    }
    partial = path.with_suffix(PARTIAL)
    save_file(halves, partial, {ABOUT: json.dumps(asdict(about))})
    partial.replace(path)


def load_teacher(path: Path, device: torch.device) -> tuple[Teacher, About]:
    """The network, in evaluation mode, and what it was trained on.

    Raises:
        TrainingError: no such file, or it holds no teacher.
    """
    try:
        with safe_open(path, "pt") as file:
            found = json.loads((file.metadata() or {})[ABOUT])
            state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        about = About(**{**found, "widths": tuple(found["widths"])})
        model = Teacher(about.classes, about.widths)
    except (OSError, SafetensorError, LookupError, ValueError, TypeError, RuntimeError) as error:
        raise TrainingError(f"{path} holds no teacher: {error}") from error
    load_into(model, state, path)
    model = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model.eval(), about
