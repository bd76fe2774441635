"""What a run leaves on disk, and that only the recipe that began it may go on with it.

``recipe.json``, ``<stage>.pt`` (the weights each finished stage left), ``checkpoint.pt`` (the
newest epoch of the stage under way) and ``log.jsonl`` (one line an epoch).
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from spikeserve.training.errors import TrainingError
from spikeserve.training.recipe import Recipe, Stage

RECIPE, CHECKPOINT, LOG = "recipe.json", "checkpoint.pt", "log.jsonl"
PARTIAL = ".partial"  # what a kill has left half written
SHARED = ("seed", "batch_size", "data")
"""What all stages depend on, and which images are held out."""
SHAPE = ("plan", "timesteps", "leak")
"""What weights of any stage only fit with, and begin as."""


@dataclass(frozen=True)
class RunFolder:
    """A folder of one run of one recipe."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        return self.path / CHECKPOINT

    @property
    def begun(self) -> bool:
        """Whether a run lies here, finished or not."""
        return (self.path / RECIPE).exists()

    def weights(self, stage: Stage) -> Path:
        return self.path / f"{stage.name}.pt"

    @contextmanager
    def occupied(self) -> Iterator[None]:
        """Keep other processes from training in the folder, which is made where it is missing.

        Raises:
            TrainingError: one does, or it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            folder = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise TrainingError(f"{self.path} cannot hold a run: {error}") from error
        try:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise TrainingError(f"another process is training in {self.path}") from error
            yield
        finally:
            os.close(folder)

    def begin(self, recipe: Recipe, *, resume: bool) -> None:
        """Make the folder this recipe's, or go on where it stopped.

        Raises:
            TrainingError: it holds a run that must not be gone on with.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if any(path.suffix != PARTIAL for path in self.path.iterdir()):
            if not resume:
                raise TrainingError(
                    f"{self.path} holds a run; pass --resume or another --run folder"
                )
            self.check(recipe)
            self._write_log(self.log())  # without a line that a kill has cut off
        self._write(RECIPE, recipe.model_dump_json(indent=1))

    def adopt(self, recipe: Recipe, other: RunFolder) -> None:
        """Begin with the stages that another run has finished, and their lines of its log.

        Raises:
            TrainingError: that run has finished no stage of this recipe, or trained it otherwise
                or on other images; nothing was copied.
        """
        if not other.path.is_dir():
            raise TrainingError(f"{other.path} is no run folder")
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise TrainingError(f"{self.path} holds a run; choose another --run folder")
        adopted: list[int] = []
        for index in recipe.needed:
            found = other.weights(recipe.stages[index]).exists()
            if found and set(recipe.earlier(index)) <= set(adopted):
                adopted.append(index)
        if not adopted:
            raise TrainingError(f"{other.path} holds no finished stage of {recipe.name}")
        stages = [recipe.stages[index] for index in adopted]
        names = {stage.name for stage in stages}
        other._compare(recipe, names)
        lines = [line for line in other.log() if line["stage"] in names]
        for stage in stages:
            load_weights(other.weights(stage), torch.device("cpu"))
        # Complete or not at all: a kill must not leave a folder that looks begun.
        partial = RunFolder(self.path.with_name(self.path.name + PARTIAL))
        shutil.rmtree(partial.path, ignore_errors=True)
        partial.begin(recipe, resume=False)
        for stage in stages:
            shutil.copy(other.weights(stage), partial.path)
        partial._write_log(lines)
        if self.path.exists():
            self.path.rmdir()
        partial.path.replace(self.path)

    def check(self, recipe: Recipe) -> None:
        """Raises TrainingError where a stage that has begun was not begun as ``recipe`` says."""
        finished = {stage.name for stage in recipe.stages if self.weights(stage).exists()}
        self._compare(recipe, finished | {line["stage"] for line in self.log()})

    def save(self, stage: Stage, state: dict[str, Any]) -> None:
        """The weights of a finished stage."""
        save_whole(state, self.weights(stage))

    def log(self) -> list[dict[str, Any]]:
        """One entry an epoch.

        Raises:
            TrainingError: the file is damaged.
        """
        path = self.path / LOG
        if not path.exists():
            return []
        *lines, _ = path.read_text().split("\n")  # the last is empty, or was cut off by a kill
        try:
            entries = [json.loads(line) for line in lines]
            return [{**entry, "stage": str(entry["stage"])} for entry in entries]
        except (ValueError, TypeError, KeyError) as error:
            raise TrainingError(f"{path} is damaged: {error}") from error

    def append(self, line: dict[str, Any]) -> None:
        with (self.path / LOG).open("a") as log:
            log.write(json.dumps(line) + "\n")

    def forget(self, stage: Stage, epochs: int) -> None:
        """Drop what the log says of later epochs of ``stage``: they were not saved."""
        lines = self.log()
        kept = [line for line in lines if line["stage"] != stage.name or line["epoch"] <= epochs]
        if len(kept) < len(lines):
            self._write_log(kept)

    def _write_log(self, lines: Iterable[dict[str, Any]]) -> None:
        self._write(LOG, "".join(json.dumps(line) + "\n" for line in lines))

    def _write(self, name: str, text: str) -> None:
        partial = self.path / (name + PARTIAL)
        partial.write_text(text)
        partial.replace(self.path / name)

    def trunk(self, trunk: str) -> tuple[RunFolder, str]:
        """The run folder beside this one and the stage in it that ``recipe/stage`` names."""
        name, stage = trunk.split("/")
        return RunFolder(self.path.with_name(name)), stage

    def trunk_weights(self, trunk: str, recipe: Recipe) -> Path:
        """Where the weights lie that a stage of ``recipe`` begins with.

        Raises:
            TrainingError: they are missing, or other images were held out there than ``recipe``
                holds out: weights that go from data set to data set and back would have seen
                what is held out.
        """
        other, stage = self.trunk(trunk)
        path = other.path / f"{stage}.pt"
        if not path.exists():
            raise TrainingError(f"{path} is missing: train {trunk} first, in a folder beside this")
        begun = other.recipe()
        if (begun.seed, begun.data.held_out) != (recipe.seed, recipe.data.held_out):
            raise TrainingError(
                f"{other.path} has another seed or held_out than {recipe.name}: images that the "
                "one holds out may be among those the other was trained on"
            )
        return path

    def recipe(self) -> Recipe:
        """The recipe that began the run.

        Raises:
            TrainingError: the folder does not say.
        """
        path = self.path / RECIPE
        try:
            return Recipe.model_validate_json(path.read_text())
        except (OSError, ValidationError) as error:
            raise TrainingError(
                f"{path} does not say which recipe began the run: {error}"
            ) from error

    def _compare(self, recipe: Recipe, stages: Iterable[str]) -> None:
        begun = self.recipe()
        different = [name for name in SHARED if getattr(begun, name) != getattr(recipe, name)]
        different += [
            name for name in SHAPE if getattr(begun.network, name) != getattr(recipe.network, name)
        ]
        theirs, ours = _lineages(begun), _lineages(recipe)
        different += [
            f"stage {name!r}" for name in sorted(stages) if theirs.get(name) != ours.get(name)
        ]
        if different:
            raise TrainingError(
                f"{self.path} was begun with another recipe; it differs in {', '.join(different)}"
            )


def _lineages(recipe: Recipe) -> dict[str, tuple[Any, ...]]:
    return {stage.name: recipe.lineage(index) for index, stage in enumerate(recipe.stages)}


def save_whole(state: dict[str, Any], path: Path) -> None:
    """``torch.save`` of which a kill never leaves half."""
    partial = path.with_suffix(PARTIAL)
    torch.save(state, partial)
    partial.replace(path)


def load_weights(path: Path, device: torch.device) -> dict[str, Any]:
    """A state dict.

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
