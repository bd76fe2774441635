"""A recipe, its data and its run folder: what every step of the pipeline takes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from spikeserve.training.data import DATASETS, Dataset, Split, held_out
from spikeserve.training.recipe import Recipe, load_recipe

TRIAL_EPOCHS = 1
TRIAL_BATCH = 64
"""Images a step: ResNet-19 keeps up to 100 MB for each while it trains all four timesteps."""


@dataclass(frozen=True)
class Run:
    """A recipe, where its data lies and where its results go."""

    recipe: Recipe
    recipe_sha256: str
    data_root: Path
    folder: Path

    @classmethod
    def of(cls, recipe: str, data_root: Path, folder: Path | None) -> Run:
        loaded, digest = load_recipe(recipe)
        return cls(loaded, digest, data_root, folder or Path("runs") / loaded.name)

    def shortened(self, fraction: float) -> Run:
        """The same on a share of the data, in few epochs and small batches: a trial, named so.

        Learning rates shrink with the batch, in proportion.
        """
        recipe = self.recipe
        batch_size = min(recipe.batch_size, TRIAL_BATCH)
        slower = batch_size / recipe.batch_size
        share = recipe.data.model_copy(update={"fraction": recipe.data.fraction * fraction})
        stages = tuple(
            stage.model_copy(
                update={
                    "epochs": min(stage.epochs, TRIAL_EPOCHS),
                    "learning_rate": stage.learning_rate * slower,
                    "trunk": None,
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

    @property
    def dataset(self) -> Dataset:
        return DATASETS[self.recipe.data.dataset]

    def splits(self) -> tuple[Split, Split]:
        """Images to fit on and images to calibrate on, both from the training set."""
        settings = self.recipe.data
        train = self.dataset.train(self.data_root)
        fitting, rest = held_out(train, settings.held_out, self.recipe.seed)
        return fitting.head(settings.fraction), rest.head(settings.fraction)
