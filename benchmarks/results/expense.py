"""What training a recipe takes: counted operations, and how long they last at a stated speed."""

from __future__ import annotations

from collections.abc import Iterator

from training.data import DATASETS
from training.recipe import RECIPES, Recipe, load_recipe

IMAGES = 50_000
SHAPE = (32, 32, 3)
FORWARD, BACKWARD = 2, 4  # operations per multiply-accumulate
TWO_CORES = 0.30e12
"""Operations a second reached by the ReLU stage of hybrid-vgg8-cifar10 on two Zen 4 cores, bf16."""
ONE_GPU = 100e12
"""Assumed of an H200-class GPU, a tenth of its dense bf16 peak; not measured."""


def operations_of(recipe: Recipe) -> float:
    """Floating-point operations of all stages a recipe needs, teachers' forward passes included."""
    classes = len(DATASETS[recipe.data.dataset].labels)
    macs = recipe.build_network(classes, SHAPE).macs
    images = (IMAGES - recipe.data.held_out) * recipe.data.fraction
    total = 0.0
    for index in recipe.needed:
        stage = recipe.stages[index]
        student = (FORWARD + BACKWARD) * stage.timesteps
        teacher = FORWARD if stage.teacher else 0
        total += stage.epochs * images * macs * (student + teacher)
    return total


def expense_table() -> Iterator[str]:
    """Markdown, one row a shipped recipe."""
    yield "| recipe | network | T | epochs by stage | operations | two cores | one GPU |"
    yield "|---|---|---|---|---|---|---|"
    for path in sorted(RECIPES.glob("*.toml")):
        recipe, _ = load_recipe(path.stem)
        network = recipe.build_network(len(DATASETS[recipe.data.dataset].labels), SHAPE)
        epochs = ", ".join(
            f"{recipe.stages[k].name} {recipe.stages[k].epochs}" for k in recipe.needed
        )
        operations = operations_of(recipe)
        yield (
            f"| {recipe.name} | {network.macs / 1e6:.0f} MMAC, {network.parameters / 1e6:.1f} M "
            f"weights | {recipe.network.timesteps} | {epochs} | {operations:.1e} | "
            f"{_duration(operations / TWO_CORES)} | {_duration(operations / ONE_GPU)} |"
        )


def _duration(seconds: float) -> str:
    hours = seconds / 3600
    return (
        f"{hours:,.0f} h"
        if hours >= 10
        else f"{hours:.1f} h"
        if hours >= 1
        else f"{60 * hours:.0f} min"
    )
