"""Muon against torch's, and freed memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from spikeserve.training.allocator import keep_freed_memory
from spikeserve.training.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(8, 27), (64, 64), (96, 20)])
def test_singular_values_come_near_one_along_the_same_directions(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    s = torch.linspace(1, 0.3, len(v))
    found = u.T @ orthogonal(u * s @ v) @ v.T
    assert 0.3 < float(found.diagonal().min()) <= float(found.diagonal().max()) < 1.5
    assert torch.allclose(found, found.diagonal().diag(), atol=1e-4)


def test_a_step_is_torchs_but_for_its_rounding() -> None:
    torch.manual_seed(0)
    start, gradients = torch.randn(24, 60), torch.randn(3, 24, 60)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizers = (
        Muon([ours], lr=0.1, momentum=0.9, weight_decay=0.2),
        torch.optim.Muon([theirs], lr=0.1, momentum=0.9, weight_decay=0.2, ns_steps=4),
    )
    for gradient in gradients:
        for weight, optimizer in zip((ours, theirs), optimizers, strict=True):
            weight.grad = gradient.clone()
            optimizer.step()
    with torch.no_grad():
        moved, apart = float((theirs - start).norm()), float((ours - theirs).norm())
    assert moved > 0.5
    assert apart / moved < 0.03  # theirs iterates in bfloat16


def test_a_matrix_of_zeros_stays_one() -> None:
    assert not orthogonal(torch.zeros(4, 6)).any()


def test_keeping_freed_memory_harms_nobody() -> None:
    keep_freed_memory()
    assert torch.zeros(1 << 22).sum() == 0
