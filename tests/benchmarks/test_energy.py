"""Published figures are met where they must be, and docs/ENERGY.md shows them as they are."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.energy import validation
from benchmarks.energy.published import spikesim_vgg9, vgg16
from benchmarks.energy.validation import DOCUMENT, Figure, chip_of, edp_ratios, full_rows


def test_every_figure_that_must_be_met_is_met() -> None:
    found = list(validation.figures())
    assert {one.key for one in found} == {"V1", "V2", "V3a", "V3b", "V3c", "V4", "V5", "V6", "V7"}
    assert all(one.met for one in found)
    (first,) = [one for one in found if one.key == "V1"]
    assert first.tolerance == 1e-9


def test_the_document_shows_the_table_as_it_is() -> None:
    assert DOCUMENT.read_text() == validation.document(), "run: make energy-validation"


def test_the_released_tools_own_sum() -> None:
    """Its PE cycle, written out as its source has it, times its cycles and timesteps."""
    pe = 3 * 3 * 1.76423 + (64 / 8) * (2.03084 + 0.094245)
    cycle = 19.64 * 8 + 4.64 + 1.274 * 4 + 8 * pe + 8 * 16 * 1.15e-6 + 8 * 0.2 + 397
    chip = chip_of(spikesim_vgg9(), "spikesim-ela-65nm")
    assert chip.mapping.pes == 48
    assert chip.mapping.tiles == 6
    total = chip.breakdown(full_rows(chip)[:5]).sum()
    assert total == pytest.approx(cycle * sum(chip.mapping.cycles) * 5, rel=1e-12)


def test_vgg16_is_the_published_one() -> None:
    layers = vgg16()
    assert sum(int(np.prod(layer.weight_shape)) for layer in layers) == 14_715_584
    macs = sum(layer.macs for layer in layers)
    assert macs == 313_201_664


def test_edp_ratios_bound_every_histogram() -> None:
    chip = chip_of(vgg16(), "dtsnn-calibrated-65nm")
    products = validation.edp(chip, full_rows(chip))[:4]
    rng = np.random.default_rng(0)
    for histogram in rng.dirichlet(np.ones(4) / 2, 200):
        low, high = edp_ratios(chip, full_rows(chip), float(histogram @ [1, 2, 3, 4]), 4)
        assert low - 1e-12 <= histogram @ products / products[3] <= high + 1e-12


def test_a_figure_outside_its_tolerance_is_missed() -> None:
    assert not Figure("V", "", 1.0, 1.2, 0.1).met
    assert Figure("V", "", 1.0, 1.2, None).met
    assert Figure("V", "", 1.0, (0.9, 1.1), 0.0).met
    assert not Figure("V", "", 1.2, (0.9, 1.1), 0.0).met
