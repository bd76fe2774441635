"""What a spike code is worth: the same teacher, the same budget, other codes.

Every variant starts from one pass that says what its neurons can say in all timesteps together, and
ends with the same few epochs of the real dynamics. Compared on held-out images, as whatever decides
about a recipe is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine
from benchmarks.results.activity import measured
from spikeserve.training.data import DATASETS, Split, held_out
from spikeserve.training.recipe import Recipe, load_recipe
from spikeserve.training.run_folder import RunFolder
from spikeserve.training.trainer import Trainer

RECIPE = Path(__file__).with_suffix(".toml")
SEEDS = (1, 2)

REPEATEDLY = {"fire_once": False, "reset": "soft", "initial_potential": 0.5}
INPUTS: dict[str, dict[str, Any]] = {
    "direct": {"encoding": "direct", "input_gains": (1, 1, 1, 1)},
    "front-loaded": {"encoding": "direct", "input_gains": (3, 1, 1, 1), "input_unit": 2 / 3},
    "hybrid": {"encoding": "hybrid", "input_gains": (6, 2, 1, 1), "input_unit": 0.5},
}
PRICES: dict[str, tuple[str, float]] = {
    "free": ("levels", 0.0),
    "cheap": ("levels-cheap", 1.0),
    "cheapest": ("levels-cheapest", 4.0),
}


@dataclass(frozen=True)
class Variant:
    """A code: where its weights start, its dynamics, and what its last stage does otherwise."""

    start: str
    network: dict[str, Any]
    stage: dict[str, Any] = field(default_factory=dict)

    def of(self, recipe: Recipe, name: str) -> Recipe:
        """The recipe with this variant's dynamics in its last stage, which takes its name."""
        *earlier, last = recipe.stages
        changed = {"name": name, "init_from": self.start, **self.stage}
        stages = [*(stage.model_dump() for stage in earlier), last.model_dump() | changed]
        network = recipe.network.model_dump() | self.network
        return Recipe.model_validate(recipe.model_dump() | {"network": network, "stages": stages})


VARIANTS: dict[str, Variant] = {
    "once, hybrid": Variant(
        "binary",
        {"encoding": "hybrid", "fire_once": True, "reset": "hard"},
        {"fold": "threshold", "rate_weight": 0.3},
    ),
    "repeatedly from two levels, direct": Variant(
        "binary", {"encoding": "direct", "fire_once": False, "reset": "soft"}, {"rate_weight": 0.3}
    ),
    "repeatedly from two levels, hybrid": Variant(
        "binary",
        {"encoding": "hybrid", "fire_once": False, "reset": "soft"},
        {"fold": "threshold", "rate_weight": 0.3},
    ),
    "once, halving": Variant(
        "halved",
        {"encoding": "direct", "fire_once": True, "reset": "hard"},
        {"leak": 2.0, "accumulation": "halving"},
    ),
    **{
        f"levels, {source}, {price}": Variant(
            start, REPEATEDLY | INPUTS[source], {"rate_weight": w}
        )
        for source in INPUTS
        for price, (start, w) in PRICES.items()
    },
    "levels, hybrid, cheap, each prefix also taught by all timesteps": Variant(
        PRICES["cheap"][0],
        REPEATEDLY | INPUTS["hybrid"],
        {"rate_weight": PRICES["cheap"][1], "consistency_weight": 0.5},
    ),
}


def ablated(runs: Path, data: Path) -> dict[str, Any]:
    """Train every variant in a folder of its own under ``runs``, or go on with what lies there."""
    recipe, _ = load_recipe(str(RECIPE))
    dataset = DATASETS[recipe.data.dataset]
    train = dataset.train(data)
    rows: list[dict[str, Any]] = []
    passes: list[dict[str, list[float]]] = []
    for seed in SEEDS:
        seeded = recipe.model_copy(update={"seed": seed})
        fitting, rest = held_out(train, recipe.data.held_out, seed)
        fitted = fitting.head(recipe.data.fraction)
        classes = len(dataset.labels)
        rows += [
            {"seed": seed} | row
            for row in compared(seeded, classes, fitted, rest, runs / f"seed-{seed}")
        ]
        passes.append(one_pass(folders_of(runs / f"seed-{seed}")))
    network = recipe.build_network(classes, train.images.shape[1:])
    return {
        "about": (
            f"A VGG of {network.macs / 1e6:.0f} million multiply-accumulates, taught by its own "
            f"ReLU network: one pass for {recipe.stages[1].epochs} epochs, then all "
            f"{recipe.network.timesteps} timesteps for {recipe.stages[-1].epochs}, batch-norm "
            f"folded, on {len(fitted):,} images. Too short to be the best of any. Means of seeds "
            f"{' and '.join(map(str, SEEDS))}, each with {len(rest):,} held-out images of "
            f"{dataset.title}."
        ),
        "images": len(rest),
        "one_pass": {
            stage: np.mean([one[stage] for one in passes], axis=0).round(4).tolist()
            for stage in passes[0]
        },
        "runs": rows,
        "machine": machine(),
    }


def compared(
    recipe: Recipe, classes: int, train: Split, rest: Split, runs: Path
) -> list[dict[str, Any]]:
    """Figures of every variant, in order."""
    rows, folders = [], folders_of(runs)
    for (name, variant), folder in zip(VARIANTS.items(), folders, strict=True):
        varied = variant.of(recipe, folder.path.name)
        if not folder.started:
            _start(folder, varied, folders)
        trainer = Trainer(varied, classes, train, rest, folder.path)
        model = trainer.run(resume=True).eval()
        rows.append({"name": name} | measured(model, trainer))
    return rows


def folders_of(runs: Path) -> list[RunFolder]:
    """Where the variants train."""
    return [RunFolder(runs / name.replace(", ", "-").replace(" ", "-")) for name in VARIANTS]


def one_pass(folders: list[RunFolder]) -> dict[str, list[float]]:
    """Held-out accuracy after each epoch of every stage of one pass that any folder has trained."""
    found: dict[str, dict[int, float]] = {}
    for folder in folders:
        for line in folder.log():
            if len(line["accuracy"]) == 1:
                found.setdefault(line["stage"], {})[line["epoch"]] = line["accuracy"][0]
    return {stage: [epochs[k] for k in sorted(epochs)] for stage, epochs in found.items()}


def _start(folder: RunFolder, recipe: Recipe, others: list[RunFolder]) -> None:
    """Begin with what another variant has trained already: the one that has trained most of it."""
    stages = [recipe.stages[index] for index in recipe.required]
    done = [sum(other.finished(stage) for stage in stages) for other in others]
    if max(done):
        folder.start_from(recipe, others[int(np.argmax(done))])
