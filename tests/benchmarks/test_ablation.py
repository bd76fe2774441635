"""The ablation of docs/RESULTS.md: four networks alike in all but what is compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.results.ablation import RECIPE, VARIANTS, compared, variant
from spikeserve.training import neurons
from spikeserve.training.data import Split
from spikeserve.training.recipe import Recipe, load_recipe


def test_variants_share_all_but_their_last_stage() -> None:
    recipe, _ = load_recipe(str(RECIPE))
    variants = [variant(recipe, name) for name in VARIANTS]
    *_, before = range(recipe.last)
    assert len({varied.fingerprint(before) for varied in variants}) == 1
    assert len({varied.fingerprint(recipe.last) for varied in variants}) == len(VARIANTS)


def test_every_variant_trains_once_and_the_figures_are_its_last_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPIKETRAIN_COMPILE", "0")
    neurons._kernels.cache_clear()
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 96).astype(np.uint8)
    images = rng.integers(0, 256, (96, 16, 16, 3)).astype(np.uint8)
    split = Split(images, labels)
    shipped, _ = load_recipe(str(RECIPE))
    recipe = Recipe.model_validate(
        shipped.model_dump()
        | {"network": shipped.network.model_copy(update={"plan": ("4", "P", "8/2")})}
        | {"stages": [stage.model_copy(update={"epochs": 1}) for stage in shipped.stages]}
    )
    rows = compared(recipe, 10, split, split, tmp_path)
    assert [row["name"] for row in rows] == list(VARIANTS)
    assert all(len(row["accuracy"]) == recipe.network.timesteps for row in rows)
    assert compared(recipe, 10, split, split, tmp_path) == rows
    neurons._kernels.cache_clear()
