"""A recipe and a data set in seconds, and neurons that need no compiler."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from spikeserve.training import neurons
from spikeserve.training.data import DATASETS

RECIPE = """
name = "tiny"
batch_size = 32
[data]
held_out = 64
[network]
plan = ["8", "P", "12/2"]
timesteps = 3
[[stages]]
name = "ann"
neurons = "clipped-relu"
timesteps = 1
epochs = 1
learning_rate = 0.03
train_threshold = false
[[stages]]
name = "temporal"
neurons = "lif"
timesteps = 3
epochs = 2
optimizer = "adamw"
learning_rate = 0.001
fold = "threshold"
weight_bits = 8
train_leak = true
teacher = "ann"
rate_weight = 0.3
cutout = 8
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in data set with its own hashes, so that verification stays on."""
    rng = np.random.default_rng(0)
    root = tmp_path / "data"
    folder = root / "cifar10"
    folder.mkdir(parents=True)
    sha256 = {}
    for split, count in (("train", 255), ("test", 96)):
        labels = rng.integers(0, 10, count).astype(np.uint8)
        images = rng.integers(0, 100, (count, 32, 32, 3)).astype(np.uint8)
        images += (labels * 15)[:, None, None, None]  # brightness gives the class away
        for part, array in (("images", images), ("labels", labels)):
            np.save(folder / f"{split}_{part}.npy", array)
            sha256[f"{split}_{part}"] = hashlib.sha256(array.tobytes()).hexdigest()
    stand_in = dataclasses.replace(DATASETS["cifar10"], sha256=sha256)
    monkeypatch.setitem(DATASETS, "cifar10", stand_in)
    return root


@pytest.fixture(autouse=True)
def _plain_kernels(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Compiling takes longer than these tests, and needs a compiler."""
    if request.node.get_closest_marker("verify") is None:
        monkeypatch.setenv("SPIKETRAIN_COMPILE", "0")
    neurons.fused.cache_clear()  # one test's choice must not be the next one's
    yield
    neurons.fused.cache_clear()
