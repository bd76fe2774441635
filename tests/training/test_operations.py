"""What training computes in floats is what the reference computes in integers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spikeserve.models.engines.reference import MOST_GATHERED, NumpyOperations
from spikeserve.models.layers import Conv, Linear, Pool, Shortcut, Synaptic
from spikeserve.training.build import FLOATS

SYNAPTIC: list[Synaptic] = [
    Conv("rectangular", (5, 6, 4), 6, kernel=(1, 4), stride=(2, 3), padding=(0, 2)),
    Conv("grey, strides that differ", (1, 1, 1), 1, kernel=4, stride=(1, 2), padding=2),
    Conv("grouped", (5, 6, 4), 6, kernel=(2, 3), groups=2),
    Conv("depthwise", (5, 6, 4), 4, groups=4),
    Linear("linear", (5, 6, 4), 3),
    Shortcut("identity", "before", (5, 6, 4), 4, projects=False),
]


@pytest.mark.parametrize("layer", SYNAPTIC, ids=lambda layer: layer.name)
@pytest.mark.parametrize("gathered", [1, 200, MOST_GATHERED])
def test_currents(layer: Synaptic, gathered: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the reference does at once."""
    monkeypatch.setattr("spikeserve.models.engines.reference.MOST_GATHERED", gathered)
    rng = np.random.default_rng(1)
    x = rng.integers(0, 3, (3, *layer.in_shape)).astype(np.int32)
    weight = rng.integers(-9, 10, layer.weight_shape).astype(np.int8)
    expected = layer.sums(NumpyOperations(), x, weight)
    frames = torch.from_numpy(x).permute(0, 3, 1, 2).float()
    found = layer.sums(FLOATS, frames, torch.from_numpy(weight).float())
    assert np.array_equal(found.permute(0, 2, 3, 1).numpy(), expected)


@pytest.mark.parametrize("mode", ["max", "sum"])
def test_pools_that_overlap(mode: str) -> None:
    layer = Pool("pool", (7, 6, 2), kernel=(3, 2), mode=mode, stride=(2, 1), padding=(1, 0))  # type: ignore[arg-type]
    x = np.random.default_rng(1).integers(0, 2, (3, *layer.in_shape)).astype(np.int32)
    expected = layer.pooled(NumpyOperations(), x)
    found = layer.pooled(FLOATS, torch.from_numpy(x).permute(0, 3, 1, 2).float())
    factor = layer.window.area if mode == "sum" else 1  # the quantiser's part of an average
    assert np.array_equal((found.permute(0, 2, 3, 1) * factor).round().numpy(), expected)
