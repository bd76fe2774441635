"""Direct or hybrid encoding, spiking once or repeatedly: the same start, the same few batches.

Each takes over the single step of a recipe's run and trains all timesteps on a share of an epoch.
Compared on held-out images, as whatever decides about a recipe is.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.machine import machine
from training.data import DATASETS, Split, held_out
from training.fit import Fit
from training.recipe import Recipe, load_recipe
from training.run_folder import RunFolder

RECIPE = "early-exit-vgg8-cifar10"
SHARE = 0.25
VARIANTS: dict[str, dict[str, Any]] = {
    "direct, repeatedly": {"encoding": "direct", "fire_once": False, "reset": "soft"},
    "direct, once": {"encoding": "direct", "fire_once": True, "reset": "hard"},
    "hybrid, repeatedly": {"encoding": "hybrid", "fire_once": False, "reset": "soft"},
    "hybrid, once": {"encoding": "hybrid", "fire_once": True, "reset": "hard"},
}


def ablated(run: Path, data: Path) -> dict[str, Any]:
    """Train every variant, from what a run of the recipe left in the folder ``run``."""
    recipe, _ = load_recipe(RECIPE)
    dataset = DATASETS[recipe.data.dataset]
    train, rest = held_out(dataset.train(data), recipe.data.held_out, recipe.seed)
    runs = [
        {"name": name} | _trained(varied(recipe, settings), train.head(SHARE), rest, run)
        for name, settings in VARIANTS.items()
    ]
    return {
        "about": (
            f"`{RECIPE}` from its trained single step, batch-norm folded, all "
            f"{recipe.network.timesteps} timesteps trained for {SHARE:g} of an epoch, which is too "
            f"short to be the best of any; n = {len(rest):,} held-out images, seed {recipe.seed}."
        ),
        "runs": runs,
        "machine": machine(),
    }


def varied(recipe: Recipe, settings: dict[str, Any]) -> Recipe:
    """The recipe with other dynamics and one epoch of its last stage."""
    # A bias that comes again with every frame is a current; with one frame, it is a threshold.
    fold = "current" if settings["encoding"] == "direct" else "threshold"
    last = recipe.stages[-1].model_copy(update={"name": "ablation", "epochs": 1, "fold": fold})
    return recipe.model_copy(
        update={
            "network": recipe.network.model_copy(update=settings),
            "stages": (*recipe.stages[:-1], last),
        }
    )


def _trained(recipe: Recipe, train: Split, rest: Split, run: Path) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        started = RunFolder(Path(folder) / "run")
        started.adopt(recipe, RunFolder(run))
        fit = Fit(recipe, len(DATASETS[recipe.data.dataset].labels), train, rest, started.path)
        fit.run(resume=True)
        newest = started.log()[-1]
    neurons = [int(np.prod(lif.in_shape)) for lif in fit.network.lifs]
    return {
        "accuracy": newest["accuracy"],
        "rate": float(np.average(newest["rates"], weights=neurons)),
        "seconds": newest["seconds"],
    }
