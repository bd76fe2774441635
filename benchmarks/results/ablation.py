"""Direct or hybrid encoding, spiking once or repeatedly: the same start, the same batches.

A network is trained for one timestep, in which all four are alike, and from there four times for
all timesteps. Compared on held-out images, as whatever decides about a recipe is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine
from spikeserve.training.data import DATASETS, Split, held_out
from spikeserve.training.recipe import Recipe, load_recipe
from spikeserve.training.run_folder import RunFolder
from spikeserve.training.trainer import Trainer

RECIPE = Path(__file__).with_suffix(".toml")
VARIANTS: dict[str, dict[str, Any]] = {
    "direct-multi-spike": {"encoding": "direct", "fire_once": False, "reset": "soft"},
    "direct-fire-once": {"encoding": "direct", "fire_once": True, "reset": "hard"},
    "hybrid-multi-spike": {"encoding": "hybrid", "fire_once": False, "reset": "soft"},
    "hybrid-fire-once": {"encoding": "hybrid", "fire_once": True, "reset": "hard"},
}


def ablated(runs: Path, data: Path) -> dict[str, Any]:
    """Train every variant in a folder of its own under ``runs``, or go on with what lies there."""
    recipe, _ = load_recipe(str(RECIPE))
    dataset = DATASETS[recipe.data.dataset]
    train, rest = held_out(dataset.train(data), recipe.data.held_out, recipe.seed)
    fitted = train.head(recipe.data.fraction)
    network = recipe.build_network(len(dataset.labels), train.images.shape[1:])
    *_, last = recipe.stages
    return {
        "about": (
            f"A VGG-8 of {network.macs / 1e6:.0f} million multiply-accumulates, trained as a ReLU "
            "network and then spiking for one timestep, in which all four are alike; from there "
            f"each runs all {recipe.network.timesteps} timesteps for {last.epochs} epoch, "
            f"batch-norm folded, on {len(fitted):,} images. Too short to be the best of any. "
            f"n = {len(rest):,} held-out images of {dataset.title}, seed {recipe.seed}."
        ),
        "images": len(rest),
        "runs": compared(recipe, len(dataset.labels), fitted, rest, runs),
        "machine": machine(),
    }


def compared(
    recipe: Recipe, classes: int, train: Split, rest: Split, runs: Path
) -> list[dict[str, Any]]:
    """The last epoch's figures of every variant; all begin with the first one's single step."""
    first = RunFolder(runs / next(iter(VARIANTS)))
    rows = []
    for name in VARIANTS:
        varied, folder = variant(recipe, name), RunFolder(runs / name)
        if folder != first and not folder.started:
            folder.start_from(varied, first)
        trainer = Trainer(varied, classes, train, rest, folder.path)
        trainer.run(resume=True)
        newest = folder.log()[-1]
        neurons = [int(np.prod(lif.in_shape)) for lif in trainer.network.lifs]
        rows.append(
            {
                "name": name,
                "accuracy": newest["accuracy"],
                "rate": float(np.average(newest["rates"], weights=neurons)),
            }
        )
    return rows


def variant(recipe: Recipe, name: str) -> Recipe:
    """The recipe with a variant's dynamics in its last stage, which takes its name."""
    settings = VARIANTS[name]
    # A bias that comes again with every frame is a current; with one frame, it is a threshold.
    fold = "current" if settings["encoding"] == "direct" else "threshold"
    *earlier, last = recipe.stages
    return recipe.model_copy(
        update={
            "network": recipe.network.model_copy(update=settings),
            "stages": (*earlier, last.model_copy(update={"name": name, "fold": fold})),
        }
    )
