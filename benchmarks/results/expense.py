"""What training a recipe takes: counted operations, and how long they last at a stated speed."""

from __future__ import annotations

from collections.abc import Iterator

from spikeserve.training.data import DATASETS
from spikeserve.training.recipe import RECIPES, Recipe, load_recipe

IMAGES = 50_000
SHAPE = (32, 32, 3)
FORWARD, BACKWARD = 2, 4  # operations per multiply-accumulate
TWO_CORES = 0.30e12
"""Operations a second reached by the ReLU stage of hybrid-vgg8-cifar10 on two Zen 4 cores, bf16."""
ONE_GPU = 100e12
"""Assumed of an H200-class GPU, a tenth of its dense bf16 peak; not measured."""


def operations_of(recipe: Recipe) -> float:
    """Floating-point operations of all stages a recipe needs, teaching stages' passes included.

    An ``ann_teacher``, which is another network, is not counted.
    """
    classes = len(DATASETS[recipe.data.dataset].labels)
    macs = recipe.build_network(classes, SHAPE).macs
    images = (IMAGES - recipe.data.held_out) * recipe.data.fraction
    total = 0.0
    for index in recipe.required:
        stage = recipe.stages[index]
        student = (FORWARD + BACKWARD) * stage.timesteps
        teacher = FORWARD if stage.teacher else 0
        epochs = stage.epochs * stage.epoch_share
        total += epochs * images * macs * (student + teacher)
    return total


def pretrained_by(recipe: Recipe) -> list[str]:
    """Recipes whose weights this one starts from; their operations are not counted here."""
    names = (recipe.stages[index].pretrained for index in recipe.required)
    return sorted({name.split("/")[0] for name in names if name is not None})


def expense_table() -> Iterator[str]:
    """Markdown, one row a shipped recipe."""
    columns = "recipe", "pretrained by", "network", "T", "epochs by stage", "operations"
    yield f"| {' | '.join(columns)} | two cores | one GPU |"
    yield "|---|---|---|---|---|---|---|---|"
    for path in sorted(RECIPES.glob("*.toml")):
        recipe, _ = load_recipe(path.stem)
        network = recipe.build_network(len(DATASETS[recipe.data.dataset].labels), SHAPE)
        epochs = ", ".join(
            f"{stage.name} {stage.epochs * stage.epoch_share:g}"
            for stage in (recipe.stages[k] for k in recipe.required)
        )
        operations, pretrained = operations_of(recipe), ", ".join(pretrained_by(recipe))
        size = f"{network.macs / 1e6:.0f} MMAC, {network.parameters / 1e6:.1f} M weights"
        yield (
            f"| {recipe.name} | {pretrained} | {size} | {recipe.network.timesteps} | {epochs} | "
            f"{operations:.1e} | "
            f"{_duration(operations / TWO_CORES)} | {_duration(operations / ONE_GPU)} |"
        )


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 1:
        return "< 1 min"
    if minutes < 60:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:,.0f} h" if minutes >= 600 else f"{minutes / 60:.1f} h"
