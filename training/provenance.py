"""Where a bundle comes from: recipe, data, software, hardware, seconds, pretrained weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from spikeserve.models.bundle import Bundle
from spikeserve.models.manifest import Pretraining, Provenance
from spikeserve.training.ann_start import ANN
from spikeserve.training.bundle_start import PREFIX as BUNDLE
from spikeserve.training.bundle_start import bundle_of
from spikeserve.training.data import named
from spikeserve.training.recipe import Recipe
from spikeserve.training.run import Run
from spikeserve.training.run_folder import RunFolder

NOT_RECORDED = "not recorded"
"""By releases that did not write it into the log."""


def provenance(run: Run) -> Provenance:
    """The ``provenance`` section of this run's bundle."""
    recipe, folder = run.recipe, RunFolder(run.folder)
    train, rest = run.splits()
    stages = {recipe.stages[index].name for index in recipe.required}
    return Provenance(
        recipe=recipe.name,
        recipe_sha256=run.recipe_sha256,
        dataset=run.dataset.title,
        dataset_sha256=run.dataset.sha256,
        seed=recipe.seed,
        training_images=len(train),
        calibration_images=len(rest),
        software={name: version(name) for name in ("torch", "numpy", "onnx")},
        hardware=_hardware(folder, stages),
        training_seconds=_training_seconds(folder, stages),
        pretraining=tuple(pretraining(folder, recipe, recipe.required, run.data_root)),
    )


def pretraining(
    folder: RunFolder, recipe: Recipe, indices: tuple[int, ...], data_root: Path
) -> Iterator[Pretraining]:
    """The runs that pretrained weights of stages ``indices`` come from, directly or not."""
    runs: dict[Path, tuple[RunFolder, list[str]]] = {}
    if (folder.path / ANN).exists():
        ann = json.loads((folder.path / ANN).read_text(encoding="utf-8"))
        yield Pretraining(recipe=f"{ann['file']} (sha256 {ann['sha256']})", dataset=NOT_RECORDED)
    for index in indices:
        pretrained = recipe.stages[index].pretrained
        if pretrained is not None and pretrained.startswith(BUNDLE):
            yield from _of_bundle(bundle_of(pretrained))
        elif pretrained is not None:
            other, stage = folder.pretrained_run(pretrained)
            runs.setdefault(other.path, (other, []))[1].append(stage)
    for other, stages in runs.values():
        theirs = other.recipe()
        required = theirs.with_dependencies(*map(theirs.index, stages))
        names = {theirs.stages[index].name for index in required}
        yield Pretraining(
            recipe=theirs.name,
            dataset=named(theirs.data.dataset, data_root)[0].title,
            training_seconds=_training_seconds(other, names),
        )
        yield from pretraining(other, theirs, required, data_root)


def _of_bundle(bundle: Bundle) -> Iterator[Pretraining]:
    """The run that made a bundle, and those that it began with."""
    source = bundle.manifest.training
    yield Pretraining(
        recipe=source.recipe, dataset=source.dataset, training_seconds=source.training_seconds
    )
    yield from source.pretraining


def _training_seconds(folder: RunFolder, stages: set[str]) -> float | None:
    seconds = [float(line["seconds"]) for line in folder.log() if line["stage"] in stages]
    return round(sum(seconds), 1) if seconds else None


def _hardware(folder: RunFolder, stages: set[str]) -> str:
    """What the stages were trained on, in order; the machine that exports may be another."""
    names = [line.get("hardware", NOT_RECORDED) for line in folder.log() if line["stage"] in stages]
    return ", then ".join(dict.fromkeys(map(str, names))) or NOT_RECORDED
