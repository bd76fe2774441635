"""A recipe, its data and its run folder: what every step of the pipeline takes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from spikeserve.training.bundle_start import PREFIX as BUNDLE
from spikeserve.training.data import Split, Stored, held_out, named
from spikeserve.training.recipe import Recipe, load_recipe

TRIAL_EPOCHS = 1
TRIAL_BATCH = 64
"""Images a step: ResNet-19 keeps up to 100 MB for each while it trains all four timesteps."""


@dataclass(frozen=True)
class Run:
    """A recipe, where its data is read and where its results are written."""

    recipe: Recipe
    recipe_sha256: str
    data_root: Path
    folder: Path

    @classmethod
    def of(cls, recipe: str, data_root: Path, folder: Path | None) -> Run:
        """The run of a recipe, by name or path, in ``folder`` (default: ``runs/<name>``)."""
        loaded, digest = load_recipe(recipe)
        return cls(loaded, digest, data_root, folder or Path("runs") / loaded.name)

    def trial(self, fraction: float) -> Run:
        """A short run of the same recipe: a share of the data, one epoch a stage, small batches.

        Its name and folder end in ``-trial``. Learning rates are in proportion to the batch size.
        Other runs' weights and teachers are left out: such a stage starts from the stage before it,
        and learns from labels alone.
        """
        recipe = self.recipe
        batch_size = min(recipe.batch_size, TRIAL_BATCH)
        scale = batch_size / recipe.batch_size
        share = recipe.data.model_copy(update={"fraction": recipe.data.fraction * fraction})
        stages = tuple(
            stage.model_copy(
                update={
                    "epochs": min(stage.epochs, TRIAL_EPOCHS),
                    "learning_rate": stage.learning_rate * scale,
                    "pretrained": _kept(stage.pretrained),
                    "ann_teacher": None,
                }
            )
            for stage in recipe.stages
        )
        trial = recipe.model_copy(
            update={
                "name": f"{recipe.name}-trial",
                "description": f"Trial on {100 * fraction:g} % of the data. {recipe.description}",
                "batch_size": batch_size,
                "data": share,
                "stages": stages,
            }
        )
        folder = self.folder.resolve()  # "." has no name
        folder = folder.with_name(f"{folder.name}-trial")
        digest = hashlib.sha256(trial.model_dump_json().encode()).hexdigest()
        return replace(self, recipe=trial, recipe_sha256=digest, folder=folder)

    @cached_property
    def _named(self) -> tuple[Stored, Path]:
        return named(self.recipe.data.dataset, self.data_root)

    @property
    def dataset(self) -> Stored:
        return self._named[0]

    @property
    def dataset_root(self) -> Path:
        """Where the data set's folder lies."""
        return self._named[1]

    def splits(self) -> tuple[Split, Split]:
        """Images to fit on and images to calibrate on, both from the training set."""
        settings = self.recipe.data
        train = self.dataset.train(self.dataset_root)
        fitting, rest = held_out(train, settings.held_out, self.recipe.seed)
        return fitting.head(settings.fraction), rest.head(settings.fraction)


def _kept(pretrained: str | None) -> str | None:
    """Weights that a trial starts from as well: those of bundles, which are there."""
    return pretrained if pretrained is not None and pretrained.startswith(BUNDLE) else None
