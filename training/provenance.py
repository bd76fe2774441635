"""Where a bundle comes from: recipe, data, software, hardware, hours and trunks."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import torch

from spikeserve.models.manifest import Provenance, Trunk
from spikeserve.training.data import DATASETS
from spikeserve.training.fit import choose_device
from spikeserve.training.recipe import Recipe
from spikeserve.training.run import Run
from spikeserve.training.run_folder import RunFolder


def provenance(run: Run) -> Provenance:
    """What a bundle of this run says of its making."""
    recipe, folder = run.recipe, RunFolder(run.folder)
    train, rest = run.splits()
    return Provenance(
        recipe=recipe.name,
        recipe_sha256=run.recipe_sha256,
        dataset=run.dataset.title,
        dataset_sha256=run.dataset.sha256,
        seed=recipe.seed,
        training_images=len(train),
        calibration_images=len(rest),
        software={name: version(name) for name in ("torch", "numpy", "onnx")},
        hardware=_hardware(),
        training_seconds=_training_seconds(
            folder, {recipe.stages[index].name for index in recipe.needed}
        ),
        trunks=tuple(trunks(folder, recipe, recipe.needed)),
    )


def trunks(folder: RunFolder, recipe: Recipe, indices: tuple[int, ...]) -> Iterator[Trunk]:
    """The runs whose weights these stages of a run began with, and those that those began with."""
    begun: dict[Path, tuple[RunFolder, list[str]]] = {}
    for index in indices:
        trunk = recipe.stages[index].trunk
        if trunk is not None:
            other, stage = folder.trunk(trunk)
            begun.setdefault(other.path, (other, []))[1].append(stage)
    for other, stages in begun.values():
        theirs = other.recipe()
        names = [stage.name for stage in theirs.stages]
        behind = theirs.behind(*map(names.index, stages))
        yield Trunk(
            recipe=theirs.name,
            dataset=DATASETS[theirs.data.dataset].title,
            training_seconds=_training_seconds(other, {names[index] for index in behind}),
        )
        yield from trunks(other, theirs, behind)


def _training_seconds(folder: RunFolder, stages: set[str]) -> float | None:
    seconds = [float(line["seconds"]) for line in folder.log() if line["stage"] in stages]
    return round(sum(seconds), 1) if seconds else None


def _hardware() -> str:
    device = choose_device()
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, ValueError):
        model = platform.processor() or platform.machine()
    return f"{torch.get_num_threads()} cores of {model.strip()}"
