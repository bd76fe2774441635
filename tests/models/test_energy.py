"""The energy estimate: exact bookkeeping, monotone, and right where a figure is published."""

from __future__ import annotations

import numpy as np
import pytest

from models.bundle import Bundle
from models.energy.estimate import EnergyModel
from models.energy.hardware import DTSNN_CALIBRATED_65NM, PROFILES


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> EnergyModel:
    return EnergyModel(bundle.manifest, DTSNN_CALIBRATED_65NM)


def pairs(
    model: EnergyModel, timesteps: int, level: int = 500
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.full((timesteps, len(model.manifest.network.synaptic)), level, np.int64)


def test_components_sum_to_the_total(model: EnergyModel) -> None:
    estimate = model.estimate(pairs(model, 2))
    components = model.components_pj(pairs(model, 2))
    assert sum(components.values()) == pytest.approx(estimate.total_pj, rel=1e-12)
    assert estimate.edp_pj_ns == pytest.approx(estimate.total_pj * estimate.latency_ns)


def test_monotone_in_timesteps_and_activity(model: EnergyModel) -> None:
    totals = [model.estimate(pairs(model, t)).total_pj for t in (1, 2, 3, 4)]
    assert totals == sorted(totals)
    assert model.estimate(pairs(model, 2, 900)).total_pj > totals[1]


def test_a_full_run_saves_nothing_and_an_early_exit_does(model: EnergyModel) -> None:
    assert model.estimate(pairs(model, 4)).saved_ratio == 0
    early = model.estimate(pairs(model, 1))
    assert 0 < early.saved_ratio < 0.75  # peripherals are paid once, so less than 3 steps of 4
    assert early.static_pj > early.total_pj


def test_interval_surrounds_the_total_and_never_changes(model: EnergyModel, bundle: Bundle) -> None:
    estimate = model.estimate(pairs(model, 2))
    low, high = estimate.interval_pj
    assert low < estimate.total_pj < high
    again = EnergyModel(bundle.manifest, DTSNN_CALIBRATED_65NM).estimate(pairs(model, 2))
    assert again == estimate


def test_eight_bit_weights_are_outside_the_validated_domain(model: EnergyModel) -> None:
    assert not model.estimate(pairs(model, 1)).in_domain
    assert any("8-bit" in note for note in model.domain_notes)


def test_one_dense_cycle_costs_what_spikesim_says() -> None:
    """828.486 pJ a PE cycle with all 64 x 9 rows driven, without the NoC (SpikeSim)."""
    parts = {part.name: part for part in DTSNN_CALIBRATED_65NM.components}
    driven = parts.pop("crossbar").energy_pj * 64 * 9
    # One n_r x n_c unit of the mapping: 9 crossbars share one set of peripherals.
    cycle = sum(part.energy_pj for name, part in parts.items() if name != "noc")
    assert driven + cycle == pytest.approx(828.486, rel=1e-5)


def test_every_constant_has_a_source_and_a_spread() -> None:
    for profile in PROFILES.values():
        assert profile.source
        for part in profile.components:
            assert part.source
            assert 0 < part.spread[0] <= 1 <= part.spread[1]
