"""The page's examples: each does on the default bundle what is said about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import spikeserve
from spikeserve import Trace
from spikeserve.models.classifier import Model
from spikeserve.service.settings import DEFAULT_BUNDLE

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "service" / "page" / "examples"
EXAMPLES: list[dict[str, Any]] = json.loads((FOLDER / "examples.json").read_text("utf-8"))
EXITS = {
    "clear at once": 1,
    "takes two steps": 2,
    "takes three steps": 3,
    "runs to the end": 4,
    "sure, and wrong": 1,
    "no class at all": 1,
}
MARGIN = 0.03
"""Of entropies to the threshold: no example may hang on the last bit of a decoder."""


@pytest.fixture(scope="module")
def model() -> Model:
    return spikeserve.load(DEFAULT_BUNDLE)


def named(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


def favourites(model: Model, trace: Trace) -> list[str]:
    return [model.manifest.labels[index] for index in trace.probabilities.argmax(axis=1)]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["file"])
def test_an_example_does_what_is_said_about_it(model: Model, example: dict[str, Any]) -> None:
    image, about, is_a = named(example["file"]), example["about"], example["class"]
    answer, trace = model.classify(image), model.trace(image)
    assert answer.timesteps_used == EXITS[about]
    threshold = model.manifest.policy().entropy_threshold
    assert (abs(trace.entropies[: answer.timesteps_used] - threshold) >= MARGIN).all()
    assert is_a is None or is_a in model.manifest.labels
    if about == "runs to the end":
        assert answer.stop_reason == "max_timesteps"
    if about == "no class at all":
        assert is_a is None
    if about in ("sure, and wrong", "no class at all"):
        assert answer.label != is_a
        assert answer.probability > 0.9
    elif is_a:
        assert answer.label == is_a


def test_there_is_one_of_every_kind_and_the_first_is_the_cat() -> None:
    assert {example["about"] for example in EXAMPLES} == set(EXITS)
    assert (EXAMPLES[0]["title"], EXAMPLES[0]["about"]) == ("a cat", "clear at once")


@pytest.mark.parametrize("name", ["fence.webp", "fog.webp", "chimera.webp"])
def test_hard_ones_change_their_favourite_on_the_way(model: Model, name: str) -> None:
    image = named(name)
    before_exit = favourites(model, model.trace(image))[: model.classify(image).timesteps_used]
    assert before_exit[0] != before_exit[-1]


def test_the_cat_keeps_the_shape_of_its_photograph() -> None:
    with (
        Image.open(ROOT / "docs" / "cat.jpg") as original,
        Image.open(FOLDER / "cat.webp") as small,
    ):
        assert small.width / small.height == pytest.approx(original.width / original.height, 0.01)


def test_every_image_is_listed_licensed_and_small() -> None:
    images = {path.name: path.stat().st_size for path in FOLDER.glob("*.webp")}
    assert set(images) == {example["file"] for example in EXAMPLES}
    note = named("LICENSES.md").decode()
    rows = {row.split("`")[1]: row for row in note.splitlines() if row.startswith("| `")}
    assert set(rows) == set(images)
    free = ("CC0", "public domain", "Apache-2.0")
    assert all(any(licence in row for licence in free) for row in rows.values())
    assert sum(images.values()) < 30_000
