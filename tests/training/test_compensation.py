"""Rounding with compensation: on the grid, and nearer in what counts than weight by weight."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from spikeserve.models.layers import Conv
from spikeserve.training.compensation import compensated, patch_covariance
from spikeserve.training.errors import RecipeError
from spikeserve.training.recipe import load_recipe
from spikeserve.training.rounding import rounded

BITS = 4


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def effect(error: Tensor, covariance: Tensor) -> Tensor:
    return ((error.double() @ covariance) * error).sum(dim=1)


def nearest(weight: Tensor) -> Tensor:
    scale = 7 / weight.abs().amax(dim=1)
    return rounded(weight, scale, BITS) / scale[:, None]


def test_correlated_inputs_let_errors_cancel() -> None:
    weight = noise(16, 27)
    alike = torch.ones(27, 27, dtype=torch.float64) + 0.02 * torch.eye(27)
    ours = compensated(weight, alike, BITS)
    assert (effect(ours - weight, alike) <= effect(nearest(weight) - weight, alike) + 1e-9).all()
    assert effect(ours - weight, alike).sum() < 0.3 * effect(nearest(weight) - weight, alike).sum()


def test_the_grid_is_found_again_by_the_largest_weight() -> None:
    weight = noise(16, 27)
    ours = compensated(weight, torch.eye(27, dtype=torch.float64), BITS)
    integers = ours * (7 / ours.abs().amax(dim=1))[:, None]
    assert torch.allclose(integers, integers.round(), atol=1e-4)
    assert (nearest(ours) - ours).abs().max() < 1e-6


def test_covariance_is_that_of_the_patches_the_layer_sees() -> None:
    layer = Conv("c", (5, 6, 2), 3, kernel=3, stride=2, padding=1)
    frames = noise(4, 2, 5, 6)
    padded = np.pad(frames.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
    patches = [
        image[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].transpose(1, 2, 0).ravel()
        for image in padded
        for i in range(layer.out_shape[0])
        for j in range(layer.out_shape[1])
    ]
    expected = np.cov(np.array(patches, np.float64).T, bias=True)
    assert np.allclose(patch_covariance(layer, frames).numpy(), expected, atol=1e-6)


def test_a_stage_needs_bits_to_be_compensated(recipe: Path) -> None:
    recipe.write_text(recipe.read_text().replace("epochs = 1", "epochs = 1\ncompensated = true"))
    with pytest.raises(RecipeError, match="compensation needs weight_bits"):
        load_recipe(str(recipe))
