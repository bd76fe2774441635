"""What counts of spikes and layers with bits of their own cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spikeserve.models.encoding import Encoding
from spikeserve.models.energy.estimate import EnergyModel
from spikeserve.models.energy.mapping import mapped
from spikeserve.models.energy.report import Reporter
from spikeserve.models.layers import Conv, Lif, Linear
from spikeserve.models.manifest import Manifest
from tests.models.energy.test_estimate import BIT_SERIAL, DEFAULT, manifest_of


def counting(max_spikes: int, **fields: Any) -> Manifest:
    """A network of 4-bit weights whose neurons may spike several times a timestep."""
    conv = Conv("conv", (8, 8, 3), 16)
    lif = Lif("lif", conv.out_shape, 256, "soft", fire_once=False, max_spikes=max_spikes)
    layers = (conv, lif, Linear("out", lif.out_shape, 2, **fields))
    return manifest_of(layers, 1, weight_bits=4)


def test_a_layers_own_bits_are_the_cells_it_takes() -> None:
    narrow, wide = counting(1), counting(1, weight_bits=16)
    first, second = (EnergyModel(each, DEFAULT).chip.mapping for each in (narrow, wide))
    assert first.column_groups == (1, 1)
    assert second.column_groups == (1, 1)  # 2 classes of four cells: 8 columns of 64
    layers = [Linear("l", (1, 1, 9), 64, weight_bits=bits) for bits in (None, 4, 9, 16)]
    assert mapped(layers, DEFAULT, weight_bits=8).column_groups == (2, 1, 3, 4)
    assert not EnergyModel(narrow, DEFAULT).domain_notes
    (note,) = EnergyModel(wide, DEFAULT).domain_notes
    assert "16-bit weights" in note


def test_every_spike_of_a_count_drives_its_cells_and_none_its_cycles() -> None:
    model = EnergyModel(counting(3), DEFAULT)
    once, thrice = (np.array([[0, pairs]]) for pairs in (100, 300))
    silent = model.estimate(np.zeros((1, 2), np.int64))
    more = model.estimate(thrice).total_pj - silent.total_pj
    assert more == pytest.approx(3 * (model.estimate(once).total_pj - silent.total_pj))
    assert model.estimate(thrice).latency_ns == silent.latency_ns
    assert "several times a timestep" in model.domain_notes[0]
    assert not silent.in_domain
    assert silent.ann_bits == int(np.ceil(np.log2(model.manifest.timesteps * 3 + 1)))
    assert any("each spike drives" in each for each in Reporter(model).report(once).assumptions)


def test_events_are_spikes_and_take_no_pixel_cycles() -> None:
    manifest = counting(1)
    events = manifest.model_copy(update={"encoding": Encoding("frames", manifest.timesteps, 9)})
    model = EnergyModel(events, BIT_SERIAL)
    assert (model.chip.frame_cycles == 1).all()
    assert any("events" in note for note in model.domain_notes)
    assert any(
        "events" in each for each in Reporter(model).report(np.zeros((1, 2), np.int64)).assumptions
    )
