"""What docs/RESULTS.md rests on: corruptions that corrupt, claims that add up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.results import report
from benchmarks.results.claim import Claim, claimed, needed_zeta
from benchmarks.results.corruptions import CORRUPTIONS, SEVERITIES
from benchmarks.results.shift import as_cifar
from spikeserve.models.energy.baselines import Operations


@pytest.mark.parametrize("name", sorted(CORRUPTIONS))
def test_corruptions_grow_with_severity_and_repeat(name: str) -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (4, 8, 8, 3)).astype(np.uint8)
    images = coarse.repeat(4, axis=1).repeat(4, axis=2)
    changes = []
    for severity in SEVERITIES:
        corrupted = CORRUPTIONS[name](images, severity)
        assert corrupted.shape == images.shape
        assert corrupted.dtype == np.uint8
        assert np.array_equal(corrupted, CORRUPTIONS[name](images, severity))
        changes.append(np.abs(corrupted.astype(float) - images).mean())
    assert changes[0] > 0
    assert changes[-1] > changes[0]


def test_grey_images_come_framed_in_three_channels() -> None:
    images = np.full((2, 28, 28, 1), 9, np.uint8)
    framed = as_cifar(images)
    assert framed.shape == (2, 32, 32, 3)
    assert (framed[:, 2:30, 2:30] == 9).all()
    assert framed.sum() == 2 * 28 * 28 * 3 * 9


def test_claim_is_the_papers_formula() -> None:
    operations = Operations(macs=10, acs=40, ann_macs=1000)
    claim = claimed(operations, first_macs=10)
    assert claim == Claim(0.01, 1, 40 / 990)
    assert claim.ratio == pytest.approx(1000 * 3.2 / (10 * 3.2 + 40 * 0.1))
    assert claim.cap == 100
    twice = Operations(macs=20, acs=40, ann_macs=1000)
    assert claimed(twice, 10).ratio == pytest.approx(1000 * 3.2 / (20 * 3.2 + 40 * 0.1))
    assert claim.price == pytest.approx(32)


def test_the_published_ratio_needs_so_much_sparsity() -> None:
    """A first layer of 0.52 % of all multiply-accumulates leaves 0.09 spikes a neuron."""
    zeta = needed_zeta(0.0052)
    assert zeta == pytest.approx(0.09, abs=0.001)
    assert Claim(0.0052, 1, zeta).ratio == pytest.approx(125)


def test_the_report_is_what_follows_from_the_log() -> None:
    """``make results`` would change nothing."""
    docs = Path(report.__file__).parents[2] / "docs"
    assert (docs / "RESULTS.md").read_text() == report.text(docs / "benchmarks" / "results")
