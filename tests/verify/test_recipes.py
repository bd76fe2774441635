"""Every recipe, from pixels to an answer, on 2 % of its data with one epoch a stage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from spikeserve.service.app import create_app
from spikeserve.service.settings import Settings
from spikeserve.training.recipe import RECIPES, load_recipe

SHARE = "0.02"
DATA = Path("data")
NAMES = sorted(path.stem for path in RECIPES.glob("*.toml"))
PHOTO = Path("docs/cat.jpg")


@pytest.mark.verify
@pytest.mark.parametrize("name", NAMES)
def test_recipe_trains_exports_serves_and_classifies(name: str, tmp_path: Path) -> None:
    recipe, _ = load_recipe(name)
    bundle = tmp_path / "bundle"
    arguments = ["--data", str(DATA), "--run", str(tmp_path / "run"), "--bundle", str(bundle)]
    training = [sys.executable, "-m", "spikeserve.training.cli"]
    command = [*training, "all", name, *arguments, "--trial", SHARE]
    subprocess.run(command, check=True, timeout=1800)
    with TestClient(create_app(Settings(bundles=(bundle,), slots=4))) as client:
        answer = client.post("/classify", content=PHOTO.read_bytes()).json()
    assert answer["model"]["name"] == f"{name}-trial"
    assert 1 <= answer["timesteps_used"] <= recipe.network.timesteps
    assert answer["energy"]["total_pj"] > 0
