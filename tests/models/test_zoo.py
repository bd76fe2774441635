"""The bundles that ship: they load, answer, and their cards say what their manifests say."""

from __future__ import annotations

from pathlib import Path

import pytest

from spikeserve.models.bundle import load_bundle, load_manifest
from spikeserve.models.energy.estimate import EnergyModel
from spikeserve.models.energy.hardware import load_profile
from spikeserve.models.engines.selection import build_engine
from spikeserve.models.inference import classify
from spikeserve.models.manifest import Manifest
from spikeserve.service.images import decode_image
from spikeserve.service.settings import DEFAULT_BUNDLE
from spikeserve.training.card import card
from spikeserve.training.recipe import load_recipe

ZOO = sorted(path for path in DEFAULT_BUNDLE.parent.iterdir() if path.is_dir())


def test_the_default_bundle_ships() -> None:
    assert DEFAULT_BUNDLE in ZOO


@pytest.mark.parametrize("folder", ZOO, ids=lambda folder: folder.name)
def test_bundle_loads_answers_and_matches_its_card_and_recipe(folder) -> None:  # type: ignore[no-untyped-def]
    bundle = load_bundle(folder)
    manifest = bundle.manifest
    engine = build_engine(bundle)
    cat = decode_image(
        (Path(__file__).parents[2] / "docs" / "cat.jpg").read_bytes(),
        manifest.network.input_shape,
        max_pixels=1_000_000,
    )
    (row,) = classify(engine, manifest, cat[None], [manifest.policy()])
    assert row.probabilities is not None
    assert row.probabilities.sum() == pytest.approx(1)
    assert (folder / "CARD.md").read_text() == card(manifest)
    recipe, digest = load_recipe(manifest.training.recipe)
    assert manifest.training.recipe_sha256 == digest
    assert manifest.encoding == recipe.encoding


def test_the_four_bit_bundle_is_in_the_energys_domain_and_as_good_as_promised() -> None:
    narrow = load_manifest(DEFAULT_BUNDLE.with_name("cifar10-hybrid-4bit"))
    assert EnergyModel(narrow, load_profile()).domain_notes == ()
    assert EnergyModel(load_manifest(DEFAULT_BUNDLE), load_profile()).domain_notes != ()
    _check_promise(narrow, accuracy=0.87)


def test_the_default_bundle_is_as_good_as_promised() -> None:
    """The floor a release may not fall below, read from the manifest's own evaluation."""
    _check_promise(load_manifest(DEFAULT_BUNDLE), accuracy=0.90)


def test_the_cifar100_bundle_is_as_good_as_promised() -> None:
    _check_promise(load_manifest(DEFAULT_BUNDLE.with_name("hybrid-vgg8-cifar100")), accuracy=0.62)


def _check_promise(manifest: Manifest, accuracy: float) -> None:
    evaluation = manifest.evaluation
    assert evaluation is not None
    assert evaluation.images == 10_000
    static = evaluation.accuracy_by_timestep[-1]
    assert static >= accuracy
    assert evaluation.default.average_timesteps <= 1.4
    assert evaluation.default.accuracy >= static - 0.002
    assert evaluation.mean_spike_rate(manifest.network) <= 0.06
