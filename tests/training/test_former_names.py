"""Names that settings and fields were first called by: what was written with them still holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from spikeserve.models.bundle import MANIFEST, load_manifest
from spikeserve.models.manifest import Manifest
from spikeserve.service.app import create_app
from spikeserve.service.settings import DEFAULT_BUNDLE, Settings
from spikeserve.training.errors import RecipeError
from spikeserve.training.recipe import Recipe, load_recipe
from tests.training.conftest import RECIPE

RENAMED = RECIPE.replace('name = "temporal"', 'name = "temporal"\ninit_from = "ann"').replace(
    'name = "ann"\n', 'name = "ann"\npretrained = "other/ann"\n'
)
FORMER = RENAMED.replace("init_from", "after").replace("pretrained", "trunk")


def test_a_recipe_in_former_names_is_the_same_recipe(recipe: Path) -> None:
    recipe.write_text(RENAMED)
    renamed = load_recipe(str(recipe))
    recipe.write_text(FORMER)
    assert load_recipe(str(recipe)) == renamed


def test_a_setting_has_one_of_its_names(recipe: Path) -> None:
    recipe.write_text(FORMER.replace('after = "ann"', 'after = "ann"\ninit_from = "ann"'))
    with pytest.raises(RecipeError, match="after is the former name of init_from"):
        load_recipe(str(recipe))


def test_the_recipe_of_an_earlier_run_is_read(recipe: Path) -> None:
    recipe.write_text(RENAMED)
    current, _ = load_recipe(str(recipe))
    written = current.model_dump_json().replace("init_from", "after").replace("pretrained", "trunk")
    assert Recipe.model_validate_json(written) == current


def test_a_bundle_lists_its_pretraining_where_it_always_did() -> None:
    text = (DEFAULT_BUNDLE / MANIFEST).read_text()
    manifest = load_manifest(DEFAULT_BUNDLE)
    runs = [run.recipe for run in manifest.training.pretraining]
    assert runs == ["hybrid-vgg8-cifar100", "hybrid-vgg8-cifar10"]
    written = json.loads(manifest.model_dump_json(by_alias=True))
    assert written["provenance"] == json.loads(text)["provenance"]
    assert Manifest.model_validate(manifest.model_dump()) == manifest
    with TestClient(create_app(Settings(bundles=(DEFAULT_BUNDLE,), slots=1))) as client:
        served = client.get(f"/v1/models/{manifest.name}").json()
    assert served["provenance"]["trunks"] == json.loads(text)["provenance"]["trunks"]
