"""How long a recipe takes on this machine: every stage rehearsed for a few steps."""

from __future__ import annotations

import math
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from spikeserve.training.data import Split
from spikeserve.training.recipe import Recipe
from spikeserve.training.trainer import Trainer

STEPS = 2
HELD_OUT = 4  # pictures
FORWARD_SHARE = 0.35
"""Of a training step, that a step without gradients takes."""
REST_SECONDS = 20.0
"""Of rounding, calibration, export and evaluation."""


@dataclass(frozen=True)
class Rehearsal:
    """What a recipe takes: what happens once, and the seconds of each stage."""

    once: float
    stages: tuple[float, ...]

    @property
    def seconds(self) -> float:
        return self.once + sum(self.stages)


def rehearsed(recipe: Recipe, classes: int, train: Split, images: int, held_out: int) -> Rehearsal:
    """Train every stage for two epochs of two steps, and reckon.

    Args:
        train: some pictures, two batches where there are so many.
        images: that the run will fit on, and ``held_out``, on which every epoch is validated.

    The first epoch holds what is compiled, the second is timed.

    Raises:
        TrainingError: the recipe cannot be trained.
    """
    short = {"epochs": 2, "epoch_share": 1.0}
    rehearsal = tuple(stage.model_copy(update=short) for stage in recipe.stages)
    copy, few = recipe.model_copy(update={"stages": rehearsal}), train.head(HELD_OUT / len(train))
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        trainer = Trainer(copy, classes, train, few, Path(folder) / "run")
        trainer.run(resume=False)
        lines = trainer.folder.log()
    whole = time.perf_counter() - began
    steps = trainer.train.count(recipe.batch_size)
    stages = []
    for stage, line in zip(recipe.stages, lines[1::2], strict=True):
        step = line["seconds"] / steps
        per_epoch = max(1, images * stage.epoch_share // recipe.batch_size)
        validation = FORWARD_SHARE * math.ceil(held_out / recipe.batch_size)
        stages.append(stage.epochs * step * (per_epoch + validation))
    timed = sum(line["seconds"] for line in lines[1::2])
    return Rehearsal(REST_SECONDS + whole - timed, tuple(stages))
