"""The ablation of docs/RESULTS.md: networks alike in all but what is compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.results.ablation import RECIPE, VARIANTS, compared, folders_of, one_pass
from benchmarks.results.activity import leaving_early
from benchmarks.results.codes import codes, operations_for
from spikeserve.training import neurons
from spikeserve.training.data import Split
from spikeserve.training.recipe import Recipe, load_recipe


def test_variants_share_the_stages_of_one_pass() -> None:
    recipe, _ = load_recipe(str(RECIPE))
    variants = [variant.of(recipe, "temporal") for variant in VARIANTS.values()]
    for index in range(recipe.last):
        assert len({varied.fingerprint(index) for varied in variants}) == 1
    assert len({varied.fingerprint(recipe.last) for varied in variants}) == len(VARIANTS)


def test_every_variant_trains_once_and_is_measured_alike_ever_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPIKETRAIN_COMPILE", "0")
    neurons.fused.cache_clear()
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 64).astype(np.uint8)
    images = rng.integers(0, 256, (64, 8, 8, 3)).astype(np.uint8)
    split = Split(images, labels)
    shipped, _ = load_recipe(str(RECIPE))
    recipe = Recipe.model_validate(
        shipped.model_dump()
        | {"network": shipped.network.model_copy(update={"plan": ("4", "8/2")})}
        | {"stages": [stage.model_copy(update={"epochs": 1}) for stage in shipped.stages]}
    )
    rows = compared(recipe, 10, split, split, tmp_path)
    assert [row["name"] for row in rows] == list(VARIANTS)
    assert all(len(row["accuracy"]) == recipe.network.timesteps for row in rows)
    assert all(0 < sum(row["operations"]) < recipe.network.timesteps for row in rows)
    again = compared(recipe, 10, split, split, tmp_path)
    for row, other in zip(rows, again, strict=True):
        assert row["accuracy"] == other["accuracy"]
        assert (row["served"] is None) == (row["name"] == "once, halving")
    passes = one_pass(folders_of(tmp_path))
    document = {"about": "", "images": 64, "one_pass": passes, "runs": [*rows, *again]}
    assert set(passes) == {stage.name for stage in recipe.stages[:-1]}
    assert sum(line.startswith("| ") for line in codes(document)) == len(VARIANTS) + 2 + 6
    neurons.fused.cache_clear()


def test_early_exit_pays_for_the_timesteps_it_takes() -> None:
    sure, unsure = [9.0, 0.0], [0.1, 0.0]
    logits = np.array([[sure, unsure, unsure], [sure, [0.0, 9.0], [0.0, 9.0]]])  # [T, N, K]
    right = np.array([[True, False, False], [True, True, True]])
    early = leaving_early(logits, right, np.array([1.0, 3.0]))
    assert early["accuracy"] == 1
    assert early["timesteps"] == pytest.approx(5 / 3, abs=1e-3)
    assert early["operations"] == pytest.approx(7 / 3, abs=1e-3)


def test_operations_for_an_accuracy_lie_between_the_timesteps_around_it() -> None:
    row = {"accuracy": [0.70, 0.80, 0.79], "operations": [0.1, 0.2, 0.2]}
    assert operations_for(row, 0.65) == pytest.approx(0.1)
    assert operations_for(row, 0.75) == pytest.approx(0.2)
    assert operations_for(row, 0.81) == float("inf")
