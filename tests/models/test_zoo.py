"""The bundles that ship: they load, answer, and their cards say what their manifests say."""

from __future__ import annotations

import pytest

from models.bundle import load_bundle
from models.energy.estimate import EnergyModel
from models.energy.hardware import load_profile
from models.engines.selection import build_engine
from models.inference import classify
from service.images import decode_image
from service.settings import DEFAULT_BUNDLE
from training.card import card
from training.recipe import RECIPES, load_recipe

ZOO = sorted(path for path in DEFAULT_BUNDLE.parent.iterdir() if path.is_dir())


def test_the_default_bundle_ships() -> None:
    assert DEFAULT_BUNDLE in ZOO


@pytest.mark.parametrize("folder", ZOO, ids=lambda folder: folder.name)
def test_bundle_loads_answers_and_matches_its_card_and_recipe(folder) -> None:  # type: ignore[no-untyped-def]
    bundle = load_bundle(folder)
    manifest = bundle.manifest
    engine = build_engine(bundle)
    cat = decode_image(
        (RECIPES.parents[1] / "docs" / "cat.jpg").read_bytes(),
        manifest.network.input_shape,
        max_pixels=1_000_000,
    )
    (row,) = classify(engine, manifest, cat[None], [manifest.policy()])
    assert row.probabilities is not None
    assert row.probabilities.sum() == pytest.approx(1)
    assert (folder / "CARD.md").read_text() == card(manifest)
    recipe, digest = load_recipe(manifest.provenance.recipe)
    assert manifest.provenance.recipe_sha256 == digest
    assert manifest.encoding == recipe.encoding


def test_the_four_bit_bundle_is_in_the_energys_domain_and_no_worse() -> None:
    narrow, default = (
        load_bundle(DEFAULT_BUNDLE.with_name(name)).manifest
        for name in ("cifar10-hybrid-4bit", "cifar10-hybrid")
    )
    assert EnergyModel(narrow, load_profile()).domain_notes == ()
    assert EnergyModel(default, load_profile()).domain_notes != ()
    assert narrow.evaluation is not None
    assert default.evaluation is not None
    loss = default.evaluation.default.accuracy - narrow.evaluation.default.accuracy
    assert loss <= 0.005


def test_the_default_bundle_is_as_good_as_promised() -> None:
    """The floor a release may not fall below, read from the manifest's own evaluation."""
    manifest = load_bundle(DEFAULT_BUNDLE).manifest
    evaluation = manifest.evaluation
    assert evaluation is not None
    assert evaluation.images == 10_000
    static = evaluation.accuracy_by_timestep[-1]
    assert static >= 0.86
    assert evaluation.default.average_timesteps <= 1.6
    assert evaluation.default.accuracy >= static - 0.002
    assert evaluation.mean_spike_rate(manifest.network) <= 0.10


def test_the_cifar100_bundle_is_as_good_as_promised() -> None:
    manifest = load_bundle(DEFAULT_BUNDLE.with_name("hybrid-vgg8-cifar100")).manifest
    evaluation = manifest.evaluation
    assert evaluation is not None
    assert evaluation.images == 10_000
    static = evaluation.accuracy_by_timestep[-1]
    assert static >= 0.62
    assert evaluation.default.accuracy >= static - 0.002
    assert evaluation.mean_spike_rate(manifest.network) <= 0.06
