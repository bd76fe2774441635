"""The estimate: exact bookkeeping whatever the network, monotone, and honest about itself."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikeserve.models.bundle import Bundle
from spikeserve.models.encoding import Encoding
from spikeserve.models.energy.baselines import ARITHMETICS, ann_baseline, fair_bits, operations
from spikeserve.models.energy.chip import Chip
from spikeserve.models.energy.estimate import EnergyEstimate, EnergyModel
from spikeserve.models.energy.hardware import HardwareProfile, load_profile
from spikeserve.models.energy.mapping import mapped
from spikeserve.models.energy.report import Reporter
from spikeserve.models.layers import Conv, Layer, Linear
from spikeserve.models.manifest import Manifest
from spikeserve.models.network import Network
from tests.networks import layers, program_of
from tests.programs import random_network, random_program, tiny_manifest

DEFAULT, TOOL = load_profile(), load_profile("spikesim-ela-65nm")
BIT_SERIAL = DEFAULT.model_copy(update={"pixel_bits": 8})
PROFILES = st.sampled_from([DEFAULT, TOOL, BIT_SERIAL])
Counts = NDArray[np.int64]


def manifest_of(sequence: tuple[Layer, ...], seed: int, **update: Any) -> Manifest:
    program = program_of(Network(sequence), np.random.default_rng(seed), extreme=False)
    labels = tuple(map(str, range(program.network.classes)))
    base = tiny_manifest(random_program(random_network()))
    pairs = tuple(layer.connections / 9 for layer in program.network.synaptic)
    exits = base.exits.model_copy(update={"mean_active_pairs": (pairs,) * base.timesteps})
    return base.model_copy(update={"layers": sequence, "labels": labels, "exits": exits, **update})


def drawn_pairs(manifest: Manifest, rows: int, seed: int) -> Counts:
    """Possible active pairs ``[T, N, L]``."""
    most = [layer.connections + 1 for layer in manifest.network.synaptic]
    shape = (manifest.timesteps, rows, len(most))
    return np.random.default_rng(seed).integers(0, most, shape)


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> EnergyModel:
    return EnergyModel(bundle.manifest, DEFAULT)


def level(model: EnergyModel, timesteps: int, share: float = 0.1) -> Counts:
    full = np.array([layer.connections for layer in model.chip.layers])
    return np.tile((full * share).astype(np.int64), (timesteps, 1))


@settings(max_examples=60, deadline=None)
@given(layers(), PROFILES, st.sampled_from([4, 5, 8]), st.integers(0, 2**32 - 1))
def test_components_timesteps_and_total_are_the_same_sum(
    sequence: tuple[Layer, ...], profile: HardwareProfile, bits: int, seed: int
) -> None:
    manifest = manifest_of(sequence, seed, weight_bits=bits)
    model = EnergyModel(manifest, profile)
    pairs = drawn_pairs(manifest, 1, seed)[:, 0]
    for t in range(1, manifest.timesteps + 1):
        report, estimate = Reporter(model).report(pairs[:t]), model.estimate(pairs[:t])
        assert sum(report.components_pj.values()) == pytest.approx(estimate.total_pj, rel=1e-12)
        assert sum(report.timesteps_pj) == pytest.approx(estimate.total_pj, rel=1e-12)
        assert len(report.timesteps_pj) == t
        assert estimate.edp_pj_ns == estimate.total_pj * estimate.latency_ns
        assert estimate.pipelined_latency_ns <= estimate.latency_ns


@settings(max_examples=40, deadline=None)
@given(layers(), PROFILES, st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_a_row_costs_the_same_alone_and_in_any_company(
    sequence: tuple[Layer, ...], profile: HardwareProfile, rows: int, seed: int
) -> None:
    manifest = manifest_of(sequence, seed)
    model = EnergyModel(manifest, profile)
    rng = np.random.default_rng(seed)
    pairs = drawn_pairs(manifest, rows, seed)
    timesteps = rng.integers(1, manifest.timesteps + 1, rows)
    together = model.estimates(pairs, timesteps)
    order = rng.permutation(rows)
    shuffled = model.estimates(pairs[:, order], timesteps[order])
    for name in ("total_pj", "static_pj", "saved_ratio", "latency_ns", "edp_pj_ns"):
        many = getattr(together, name)
        assert np.array_equal(many[order], getattr(shuffled, name))
        for row in range(rows):
            alone: EnergyEstimate[float] = model.estimate(pairs[: timesteps[row], row])
            assert many[row] == getattr(alone, name), name


@settings(max_examples=40, deadline=None)
@given(layers(), PROFILES, st.integers(0, 2**32 - 1))
def test_more_timesteps_and_more_spikes_never_cost_less(
    sequence: tuple[Layer, ...], profile: HardwareProfile, seed: int
) -> None:
    manifest = manifest_of(sequence, seed)
    model = EnergyModel(manifest, profile)
    pairs = drawn_pairs(manifest, 1, seed)[:, 0]
    runs = [model.estimate(pairs[:t]) for t in range(1, manifest.timesteps + 1)]
    for name in ("total_pj", "latency_ns", "edp_pj_ns"):
        values = [getattr(run, name) for run in runs]
        assert all(a < b for a, b in pairwise(values)), name
    busier = pairs.copy()
    t, layer = np.unravel_index(seed % pairs.size, pairs.shape)
    busier[t, layer] += 1
    more = model.estimate(busier).total_pj
    charged = profile.rows == "active" and manifest.network.synaptic[layer].is_matrix
    assert more > runs[-1].total_pj if charged else more == runs[-1].total_pj


@pytest.mark.parametrize("timesteps", [1, 3])
def test_dense_equals_full_rows(timesteps: int) -> None:
    """Where every PE is full and every input active, both ways to count rows agree."""
    convs = (Conv("a", (4, 4, 64), 64, padding=0), Conv("b", (6, 3, 128), 70, padding=0))
    dense = DEFAULT.model_copy(update={"rows": "all"})
    encoding = Encoding("direct", timesteps)
    counted, charged = (Chip(p, convs, 4, encoding, 10) for p in (DEFAULT, dense))
    pairs = np.tile([layer.connections for layer in convs], (timesteps, 1))
    assert np.array_equal(pairs[0], counted.mapping.all_rows)
    assert counted.breakdown(pairs) == pytest.approx(charged.breakdown(pairs * 0), rel=1e-14)


def test_mapping_counts_crossbars_as_the_formula_says() -> None:
    convolution = Conv("c", (8, 8, 65), 65, stride=2)
    linear = Linear("l", (1, 1, 577), 10)
    found = mapped((convolution, linear), DEFAULT, weight_bits=8)
    assert found.positions == (16, 1)
    assert found.row_groups == (2, 2)  # 585 and 577 rows on PEs of 576
    assert found.column_groups == (3, 1)  # 130 and 20 columns of 64
    assert found.cycles == (96, 2)
    assert (found.pes, found.crossbars, found.tiles) == (8, 72, 1)


def test_a_full_run_saves_nothing_and_an_early_exit_does(model: EnergyModel) -> None:
    full = model.estimate(level(model, 4))
    assert full.saved_ratio == 0
    assert full.saved_interval == (0, 0)
    early = model.estimate(level(model, 1))
    assert 0 < early.saved_ratio < 0.75  # peripherals are paid once, so less than 3 steps of 4
    low, high = early.saved_interval
    assert low < early.saved_ratio < high
    tool = EnergyModel(model.manifest, TOOL).estimate(level(model, 1))
    assert tool.saved_ratio == pytest.approx(0.75), "proportional to time"


def test_interval_surrounds_the_total_and_never_changes(model: EnergyModel) -> None:
    estimate = model.estimate(level(model, 2))
    low, high = estimate.interval_pj
    assert low < estimate.total_pj < high
    assert EnergyModel(model.manifest, DEFAULT).estimate(level(model, 2)) == estimate
    exact = {
        name: part.model_copy(update={"spread": (1.0, 1.0)})
        for name, part in DEFAULT.components.items()
    }
    known = DEFAULT.model_copy(update={"components": exact})
    estimate = EnergyModel(model.manifest, known).estimate(level(model, 2))
    assert estimate.interval_pj == pytest.approx((estimate.total_pj, estimate.total_pj))


def test_what_is_left_is_known_better_than_totals(model: EnergyModel) -> None:
    estimate = model.estimate(level(model, 1))
    low, high = estimate.interval_pj
    least, most = estimate.saved_interval
    assert (1 - least) / (1 - most) < high / low


@settings(max_examples=40, deadline=None)
@given(layers(), st.sampled_from([0.0, 1.0]), st.integers(0, 2**32 - 1))
def test_an_estimate_lies_in_its_own_interval_however_odd_chip_and_row(
    sequence: tuple[Layer, ...], share: float, seed: int
) -> None:
    odd = {"adc": (1.0, 1000.0), "htree": (1e-3, 1.0), "crossbar": (1e-3, 1e3)}
    components = {
        name: part.model_copy(update={"spread": odd.get(name, part.spread), "energy_pj": 5.0})
        for name, part in DEFAULT.components.items()
    }
    profile = DEFAULT.model_copy(update={"components": components})
    model = EnergyModel(manifest_of(sequence, seed), profile)
    for t in (1, 3):
        estimate = model.estimate(level(model, t, share))
        low, high = estimate.interval_pj
        assert low <= estimate.total_pj <= high
        low, high = estimate.saved_interval
        assert 0 <= low <= estimate.saved_ratio <= high <= 1


def test_where_later_timesteps_cost_nothing_nothing_is_saved_for_certain(
    bundle: Bundle,
) -> None:
    free = {
        name: part.model_copy(
            update={"once": True} if part.per != "active_cell" else {"energy_pj": 0.0}
        )
        for name, part in DEFAULT.components.items()
    }
    profile = DEFAULT.model_copy(update={"components": free, "exit_pj_per_class": 0.0})
    model = EnergyModel(bundle.manifest, profile)
    estimate = model.estimate(level(model, 2))
    assert estimate.saved_ratio == 0
    assert estimate.saved_interval == (0, 0)


def test_bit_serial_pixels_cost_more_only_where_frames_are_analog(bundle: Bundle) -> None:
    plain, serial = (EnergyModel(bundle.manifest, p) for p in (DEFAULT, BIT_SERIAL))
    pairs = level(plain, 4)
    before, after = (m.chip.breakdown(pairs).sum(axis=1) for m in (plain, serial))
    assert after[0] > before[0]
    assert after[1:] == pytest.approx(before[1:])  # hybrid: spikes from t = 2 on
    layer = plain.chip.layers[0]
    assert serial.chip.latency_ns[0] - plain.chip.latency_ns[0] == 7 * layer.positions * 104


@pytest.mark.parametrize(
    ("update", "profile", "note"),
    [
        ({}, DEFAULT, "8-bit weights"),
        ({"weight_bits": 4, "encoding": Encoding("hybrid", 9)}, DEFAULT, "9 timesteps"),
        ({"weight_bits": 4}, DEFAULT.model_copy(update={"validated": None}), "says nothing"),
        ({"weight_bits": 4}, DEFAULT, None),
    ],
)
def test_outside_its_domain_an_estimate_says_so_and_why(
    bundle: Bundle, update: dict[str, Any], profile: HardwareProfile, note: str | None
) -> None:
    manifest = bundle.manifest.model_copy(update=update)
    rows = manifest.exits.mean_active_pairs
    exits = manifest.exits.model_copy(
        update={"mean_active_pairs": (rows * 3)[: manifest.timesteps]}
    )
    model = EnergyModel(manifest.model_copy(update={"exits": exits}), profile)
    assert model.estimate(level(model, 1)).in_domain == (note is None)
    assert len(model.domain_notes) == (note is not None)
    assert all(note is not None and note in found for found in model.domain_notes)


def test_four_bit_weights_take_half_the_columns_of_eight() -> None:
    layer = Conv("c", (8, 8, 64), 256)
    eight, four = (mapped((layer,), DEFAULT, bits) for bits in (8, 4))
    assert eight.column_groups[0] == 2 * four.column_groups[0]


def test_the_ann_pays_for_every_bit_and_for_no_neuron(model: EnergyModel) -> None:
    chip = model.chip
    assert [fair_bits(t) for t in (1, 3, 4, 7, 8)] == [1, 2, 3, 3, 4]
    one, two = ann_baseline(chip, 1), ann_baseline(chip, 2)
    step = chip.breakdown(np.array([chip.mapping.all_rows]))[0]
    names = chip.components
    own = sum(value for name, value in zip(names, step, strict=True) if name not in ("lif", "exit"))
    adds = DEFAULT.ann_shift_add_pj * 64 * sum(chip.mapping.cycles)
    assert one.energy_pj == pytest.approx(own + adds)
    once = sum(
        value for name, value in zip(names, step, strict=True)
        if name in DEFAULT.components and DEFAULT.components[name].once
    )  # fmt: skip
    assert two.energy_pj == pytest.approx(2 * one.energy_pj - once)
    assert two.latency_ns == 2 * one.latency_ns == 2 * chip.latency_ns[0]
    assert model.estimate(level(model, 1)).ann_pj == ann_baseline(chip, 3).energy_pj


def test_both_networks_pay_the_same_for_pixels(bundle: Bundle) -> None:
    plain, serial = (EnergyModel(bundle.manifest, p).chip for p in (DEFAULT, BIT_SERIAL))
    assert ann_baseline(serial, 8).energy_pj == ann_baseline(plain, 8).energy_pj
    three, more = ann_baseline(plain, 3), ann_baseline(serial, 3)
    positions = plain.layers[0].positions
    assert more.latency_ns - three.latency_ns == (8 - 3) * positions * DEFAULT.cycle_ns
    assert more.energy_pj > three.energy_pj


def test_what_is_charged_once_is_charged_once_also_for_bit_serial_pixels(bundle: Bundle) -> None:
    plain, serial = (EnergyModel(bundle.manifest, p) for p in (DEFAULT, BIT_SERIAL))
    pairs = level(plain, 1)
    before, after = (m.chip.breakdown(pairs)[0] for m in (plain, serial))
    for k, name in enumerate(plain.chip.components):
        once = name in DEFAULT.components and DEFAULT.components[name].once
        assert after[k] == before[k] if once or name == "exit" else after[k] > before[k], name


def test_operations_charge_analog_frames_as_macs(model: EnergyModel) -> None:
    chip, pairs = model.chip, level(model, 2)
    channels = np.array([layer.out_channels for layer in chip.layers])
    counted = operations(chip.layers, chip.encoding, pairs)
    first = chip.layers[0]
    assert counted.macs == first.weight_shape[0] * first.positions * first.out_channels
    assert counted.ann_macs == model.manifest.network.macs
    assert counted.acs == (pairs[0] * channels)[1:].sum() + (pairs[1] * channels).sum()
    direct = operations(chip.layers, Encoding("direct", 4), pairs)
    assert direct.macs == 2 * counted.macs
    ours, ann = counted.energy_pj(ARITHMETICS[1])
    assert ours == pytest.approx(3.2 * counted.macs + 0.1 * counted.acs)
    assert ann == pytest.approx(3.2 * counted.ann_macs)


def test_a_report_is_enough_to_compute_its_total_by_hand(model: EnergyModel) -> None:
    report = Reporter(model).report(level(model, 2, 0.3))
    cycles = sum(one.positions * one.row_groups * one.column_groups for one in report.layers)
    cells = sum(64 * one.column_groups * sum(one.active_pairs) for one in report.layers)
    step = 64 * 2.03084 + 157.12 + 81.94 + 5.096
    once = 64 * 0.094245 + 397 + 4.64 + 1.6 + 1.472e-4
    total = 0.00344576171875 * cells + cycles * (2 * step + once) + 2 * 20.55 * 10
    assert sum(report.components_pj.values()) == pytest.approx(total, rel=1e-12)


def test_the_report_names_assumptions_and_sources(model: EnergyModel) -> None:
    report = Reporter(model).report(level(model, 2, 0.25))
    assert [layer.name for layer in report.layers] == [layer.name for layer in model.chip.layers]
    assert np.allclose([layer.activity for layer in report.layers], 0.25, atol=0.01)
    assert [ann.bits for ann in report.anns] == [3, 4, 8]
    assert set(report.components_pj) <= set(report.sources)
    assert any("not built" in text for text in report.assumptions)
    assert any("bit-serial" in text for text in report.assumptions)
    assert "memory" in report.operations.warning
    assert report.domain_notes
