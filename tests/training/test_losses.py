"""Losses over the time axis against their formulas, by hand."""

from __future__ import annotations

import math

import torch

from spikeserve.training.losses import (
    logit_deviation,
    spike_time_cross_entropy,
    timestep_cross_entropy,
)


def test_every_timestep_counts_by_its_weight() -> None:
    logits = torch.tensor([[[2.0, 0.0]], [[0.0, 0.0]]])
    labels = torch.tensor([0])
    first, second = math.log(1 + math.exp(-2)), math.log(2)
    mean = timestep_cross_entropy(logits, labels, torch.ones(2), 0.0)
    assert math.isclose(float(mean), (first + second) / 2, rel_tol=1e-6)
    last = timestep_cross_entropy(logits, labels, torch.tensor([0.0, 1.0]), 0.0)
    assert math.isclose(float(last), second, rel_tol=1e-6)


def test_spike_time_is_subtracted_from_the_final_potential() -> None:
    # Class 0 reaches 1 at t = 2, class 1 never; T = 3.
    logits = torch.tensor([[[0.5, 0.1]], [[0.7, 0.1]], [[-0.2, 0.1]]])
    loss = spike_time_cross_entropy(logits, torch.tensor([0]), 1.0, 0.0)
    outputs = 1.0 - 2, 0.3 - 3
    assert math.isclose(float(loss), math.log(1 + math.exp(outputs[1] - outputs[0])), rel_tol=1e-6)


def test_spiking_earlier_is_what_the_spike_time_rewards() -> None:
    logits = torch.tensor([[[0.9, 0.0]], [[0.5, 0.0]]], requires_grad=True)
    spike_time_cross_entropy(logits, torch.tensor([0]), 1.0, 0.0).backward()  # type: ignore[no-untyped-call]
    gradient = logits.grad
    assert gradient is not None
    assert gradient[0, 0, 0] < gradient[1, 0, 0] < 0


def test_deviation_pulls_logits_to_one() -> None:
    assert float(logit_deviation(torch.tensor([[[1.0, 3.0]]]))) == 2.0
