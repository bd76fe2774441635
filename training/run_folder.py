"""What a run leaves on disk, and that only the recipe that began it may go on with it.

``recipe.json``, ``<stage>.pt`` (the weights each finished stage left), ``checkpoint.pt`` (the
newest epoch of the stage under way) and ``log.jsonl`` (one line an epoch).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from training.errors import TrainingError
from training.recipe import Recipe, Stage

RECIPE, CHECKPOINT, LOG = "recipe.json", "checkpoint.pt", "log.jsonl"
SHARED = ("seed", "batch_size", "data", "network")
"""What all stages depend on, and which images are held out."""


@dataclass(frozen=True)
class RunFolder:
    """A folder of one run of one recipe."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        return self.path / CHECKPOINT

    def weights(self, stage: Stage) -> Path:
        return self.path / f"{stage.name}.pt"

    def begin(self, recipe: Recipe, *, resume: bool) -> None:
        """Make the folder this recipe's, or go on where it stopped.

        Raises:
            TrainingError: it holds a run that must not be gone on with.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(f"{self.path} cannot hold a run: {error}") from error
        if any(self.path.iterdir()):
            if not resume:
                raise TrainingError(
                    f"{self.path} holds a run; pass --resume or another --run folder"
                )
            self._check(recipe, {line["stage"] for line in self.log()})
        (self.path / RECIPE).write_text(recipe.model_dump_json(indent=1))

    def adopt(self, recipe: Recipe, other: RunFolder) -> None:
        """Begin with the stages that another run has finished, and their lines of its log.

        Raises:
            TrainingError: that run has finished no stage of this recipe, or trained it otherwise
                or on other images; nothing was copied.
        """
        if not other.path.is_dir():
            raise TrainingError(f"{other.path} is no run folder")
        adopted: list[Stage] = []
        for index in recipe.needed:
            stage = recipe.stages[index]
            earlier = recipe.earlier(index)
            if other.weights(stage).exists() and all(recipe.stages[i] in adopted for i in earlier):
                adopted.append(stage)
        if not adopted:
            raise TrainingError(f"{other.path} holds no finished stage of {recipe.name}")
        names = {stage.name for stage in adopted}
        other._check(recipe, names)
        lines = [line for line in other.log() if line["stage"] in names]
        for stage in adopted:
            load_weights(other.weights(stage), torch.device("cpu"))
        self.begin(recipe, resume=False)
        for stage in adopted:
            shutil.copy(other.weights(stage), self.path)
        for line in lines:
            self.append(line)

    def log(self) -> list[dict[str, Any]]:
        """One entry an epoch.

        Raises:
            TrainingError: the file is damaged.
        """
        path = self.path / LOG
        if not path.exists():
            return []
        try:
            return [json.loads(line) for line in path.read_text().splitlines()]
        except ValueError as error:
            raise TrainingError(f"{path} is damaged: {error}") from error

    def append(self, line: dict[str, Any]) -> None:
        with (self.path / LOG).open("a") as log:
            log.write(json.dumps(line) + "\n")

    def _check(self, recipe: Recipe, stages: Iterable[str]) -> None:
        """Raises TrainingError where ``stages`` were not trained as ``recipe`` says."""
        path = self.path / RECIPE
        try:
            begun = Recipe.model_validate_json(path.read_text())
        except (OSError, ValidationError) as error:
            raise TrainingError(
                f"{path} does not say which recipe began the run: {error}"
            ) from error
        different = [name for name in SHARED if getattr(begun, name) != getattr(recipe, name)]
        theirs = {stage.name: stage for stage in begun.stages}
        ours = {stage.name: stage for stage in recipe.stages}
        different += [
            f"stage {name!r}" for name in sorted(stages) if theirs.get(name) != ours.get(name)
        ]
        if different:
            raise TrainingError(
                f"{self.path} was begun with another recipe; it differs in {', '.join(different)}"
            )


def load_weights(path: Path, device: torch.device) -> dict[str, Any]:
    """A state dict.

    Raises:
        TrainingError: the file is damaged.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location=device)
    except Exception as error:  # torch raises whatever its readers raise
        raise TrainingError(f"{path} is damaged: {error}") from error
    return state
