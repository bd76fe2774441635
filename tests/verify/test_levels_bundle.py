"""Real images through a network of program format 2: repeated spikes, input gains, saturation."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from spikeserve.models.bundle import Bundle, load_bundle
from spikeserve.models.engines.selection import EngineChoice, build_engine
from spikeserve.models.inference import Trace, trace
from spikeserve.training.data import DATASETS, Split
from tests.verify.equality import check_same_bits

pytestmark = pytest.mark.verify

DATA = Path("data")
SMALL = """
extends = "levels-vgg8-cifar10"
name = "small"
[network]
plan = ["24", "32/2", "48", "64/2", "96", "128/2", "128"]
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A small network of the recipe after some seconds of training, which is enough to spike."""
    folder = tmp_path_factory.mktemp("levels")
    recipe = folder / "small.toml"
    recipe.write_text(SMALL)
    arguments = [recipe, "--data", DATA, "--run", folder / "run", "--bundle", folder / "bundle"]
    training = [sys.executable, "-m", "spikeserve.training.cli", "all", "--trial", "0.02"]
    subprocess.run([*training, *map(str, arguments)], check=True, timeout=1800)
    return load_bundle(folder / "bundle")


@pytest.fixture(scope="module")
def test_set() -> Split:
    return DATASETS["cifar10"].test(DATA)


@pytest.fixture(scope="module")
def event_trace(bundle: Bundle, test_set: Split) -> Trace:
    return trace(build_engine(bundle, "event"), bundle.manifest.encoding, test_set.images)


def test_it_is_of_format_2_and_spikes(bundle: Bundle, event_trace: Trace) -> None:
    assert bundle.program.format == 2
    assert any(bundle.program.saturates)
    assert event_trace.spikes.sum(axis=(1, 2)).min() > 0


@pytest.mark.parametrize("choice", ["reference", "onnx", "torch"])
def test_engines_give_the_same_bits_on_ten_thousand_images(
    bundle: Bundle, test_set: Split, event_trace: Trace, choice: EngineChoice
) -> None:
    check_same_bits(bundle, choice, test_set.images, event_trace)
