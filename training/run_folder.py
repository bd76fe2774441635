"""The files of a training run, and who may go on with them: the recipe that started the run.

``recipe.json``, ``<stage>.pt`` (weights of each finished stage), ``checkpoint.pt`` (the newest
epoch of the stage that is training) and ``log.jsonl`` (one line an epoch).
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

from spikeserve.training.ann_start import ANN
from spikeserve.training.bundle_start import PREFIX as BUNDLE
from spikeserve.training.bundle_start import bundle_of
from spikeserve.training.errors import TrainingError
from spikeserve.training.recipe import Recipe
from spikeserve.training.stage import Stage
from spikeserve.training.weights_file import PARTIAL, read_state, save_atomically

RECIPE, CHECKPOINT, LOG, DATA = "recipe.json", "checkpoint.pt", "log.jsonl", "data.json"
SHARED = ("seed", "batch_size", "data")
"""Settings of a recipe that all stages depend on; they also say which images are held out."""
SHAPE = ("plan", "timesteps", "leak")
"""Settings of the network that shapes and initial values of all weights depend on."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run of one recipe."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        return self.path / CHECKPOINT

    @property
    def started(self) -> bool:
        """Whether the folder holds a run, finished or not."""
        return (self.path / RECIPE).exists()

    def weights(self, stage: Stage) -> Path:
        """Where the weights of a finished stage are."""
        return self.path / f"{stage.name}.pt"

    def finished(self, stage: Stage) -> bool:
        """Whether a stage has trained to its end."""
        return self.weights(stage).exists()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training in the folder; a missing folder is made.

        Raises:
            TrainingError: another process trains there, or the folder cannot be made.
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

    def start(self, recipe: Recipe, *, resume: bool, data: dict[str, str] | None = None) -> None:
        """Start a run of ``recipe``, or resume the one in the folder.

        Args:
            data: the sha256 of the arrays that it trains on.

        Raises:
            TrainingError: the folder holds a run, and ``resume`` is false or the recipe or the data
                differ.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if any(path.suffix != PARTIAL for path in self.path.iterdir()):
            if not resume:
                raise TrainingError(
                    f"{self.path} holds a run; pass --resume or another --run folder"
                )
            self.check(recipe)
            self._write_log(self.log())  # without a line that a kill has cut off
        if data is not None:
            self.check_data(data)
            self._write(DATA, json.dumps(data, indent=1))
        self._write(RECIPE, recipe.model_dump_json(indent=1))

    def check_data(self, data: dict[str, str]) -> None:
        """Check that what was trained here saw the arrays of these sha256.

        Raises:
            TrainingError: others; what is to be evaluated on may have been among them.
        """
        path = self.path / DATA
        if path.exists() and json.loads(path.read_text(encoding="utf-8")) != data:
            raise TrainingError(
                f"{self.path} was trained on other pictures than the data set has now; train in "
                "another --run folder"
            )

    def start_from(self, recipe: Recipe, other: RunFolder) -> None:
        """Start a run of ``recipe`` with copies of the stages that ``other`` has finished.

        Raises:
            TrainingError: ``other`` has finished no stage of this recipe, or trained one with other
                settings or on other images; nothing was copied.
        """
        if not other.path.is_dir():
            raise TrainingError(f"{other.path} is no run folder")
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise TrainingError(f"{self.path} holds a run; choose another --run folder")
        copied: list[int] = []
        for index in recipe.required:
            found = other.finished(recipe.stages[index])
            if found and set(recipe.dependencies(index)) <= set(copied):
                copied.append(index)
        if not copied:
            raise TrainingError(f"{other.path} holds no finished stage of {recipe.name}")
        stages = [recipe.stages[index] for index in copied]
        names = {stage.name for stage in stages}
        other._check_stages(recipe, names)
        lines = [line for line in other.log() if line["stage"] in names]
        for stage in stages:
            read_state(other.weights(stage), torch.device("cpu"))
        # Complete or not at all: a kill must not leave a folder that looks like a started run.
        partial = RunFolder(self.path.with_name(self.path.name + PARTIAL))
        shutil.rmtree(partial.path, ignore_errors=True)
        partial.start(recipe, resume=False)
        for stage in stages:
            shutil.copy(other.weights(stage), partial.path)
        partial._write_log(lines)
        if recipe.required[0] in copied and (other.path / ANN).exists():
            shutil.copy(other.path / ANN, partial.path)
        if (other.path / DATA).exists():
            shutil.copy(other.path / DATA, partial.path)
        if self.path.exists():
            self.path.rmdir()
        partial.path.replace(self.path)

    def check(self, recipe: Recipe) -> None:
        """Check that every stage trained here was trained as ``recipe`` says.

        Raises:
            TrainingError: one was not; names the settings that differ.
        """
        finished = {stage.name for stage in recipe.stages if self.finished(stage)}
        self._check_stages(recipe, finished | {line["stage"] for line in self.log()})

    def save_weights(self, stage: Stage, state: dict[str, Any]) -> None:
        """Write the weights of a finished stage."""
        save_atomically(state, self.weights(stage))

    def log(self) -> list[dict[str, Any]]:
        """One entry an epoch.

        Raises:
            TrainingError: the file is damaged.
        """
        path = self.path / LOG
        if not path.exists():
            return []
        # The last line is empty, or was cut off by a kill.
        *lines, _ = path.read_text(encoding="utf-8").split("\n")
        try:
            entries = [json.loads(line) for line in lines]
            return [{**entry, "stage": str(entry["stage"])} for entry in entries]
        except (ValueError, TypeError, KeyError) as error:
            raise TrainingError(f"{path} is damaged: {error}") from error

    def append_log(self, line: dict[str, Any]) -> None:
        """Add an epoch's entry to the log."""
        with (self.path / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")

    def truncate_log(self, stage: Stage, epochs: int) -> None:
        """Drop the log's entries of ``stage`` beyond ``epochs``, whose weights were not saved."""
        lines = self.log()
        kept = [line for line in lines if line["stage"] != stage.name or line["epoch"] <= epochs]
        if len(kept) < len(lines):
            self._write_log(kept)

    def _write_log(self, lines: Iterable[dict[str, Any]]) -> None:
        self._write(LOG, "".join(json.dumps(line) + "\n" for line in lines))

    def _write(self, name: str, text: str) -> None:
        partial = self.path / (name + PARTIAL)
        partial.write_text(text, encoding="utf-8")
        partial.replace(self.path / name)

    def pretrained_run(self, pretrained: str) -> tuple[RunFolder, str]:
        """The run folder beside this one, and the stage in it, that ``recipe/stage`` names."""
        name, stage = pretrained.split("/")
        return RunFolder(self.path.with_name(name)), stage

    def check_pretrained(self, pretrained: str, recipe: Recipe) -> None:
        """Check that the weights that a stage of ``recipe`` starts from are there.

        Raises:
            TrainingError: see :meth:`pretrained_weights` and
                :func:`spikeserve.training.bundle_start.bundle_of`.
        """
        if pretrained.startswith(BUNDLE):
            bundle_of(pretrained)
        else:
            self.pretrained_weights(pretrained, recipe)

    def pretrained_weights(self, pretrained: str, recipe: Recipe) -> Path:
        """Where the pretrained weights are that a stage of ``recipe`` starts from.

        Raises:
            TrainingError: they are missing, or their run held out other images than ``recipe``
                does: weights that go from data set to data set and back would have been trained
                on images that are held out now.
        """
        other, stage = self.pretrained_run(pretrained)
        path = other.path / f"{stage}.pt"
        if not path.exists():
            raise TrainingError(
                f"{path} is missing: train {pretrained} first, in a folder beside this"
            )
        theirs = other.recipe()
        if (theirs.seed, theirs.data.held_out) != (recipe.seed, recipe.data.held_out):
            raise TrainingError(
                f"{other.path} has another seed or held_out than {recipe.name}: images that the "
                "one holds out may be among those the other was trained on"
            )
        return path

    def recipe(self) -> Recipe:
        """The recipe that started the run.

        Raises:
            TrainingError: ``recipe.json`` is missing or damaged.
        """
        path = self.path / RECIPE
        try:
            return Recipe.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValidationError) as error:
            raise TrainingError(
                f"{path} does not say which recipe started the run: {error}"
            ) from error

    def _check_stages(self, recipe: Recipe, stages: Iterable[str]) -> None:
        """Refuse ``recipe`` where it differs from this run's in what decides about ``stages``."""
        found = self.recipe()
        different = [name for name in SHARED if getattr(found, name) != getattr(recipe, name)]
        different += [
            name for name in SHAPE if getattr(found.network, name) != getattr(recipe.network, name)
        ]
        theirs, ours = _fingerprints(found), _fingerprints(recipe)
        different += [
            f"stage {name!r}" for name in sorted(stages) if theirs.get(name) != ours.get(name)
        ]
        if different:
            raise TrainingError(
                f"{self.path} was started with another recipe; it differs in {', '.join(different)}"
            )


def _fingerprints(recipe: Recipe) -> dict[str, tuple[Any, ...]]:
    return {stage.name: recipe.fingerprint(index) for index, stage in enumerate(recipe.stages)}
