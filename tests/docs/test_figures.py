"""Figures in README and docs are what the benchmarks logged, rounded as shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.quoted import BLOCK, DOCUMENTS, ROOT, TABLES, logged, renewed
from spikeserve.models.layers import Conv

README, BENCHMARKS, ENGINES = "README.md", "docs/BENCHMARKS.md", "docs/ENGINES.md"
ENERGY = "docs/ENERGY.md"
ALONE, BATCHED = "threads 1, batch 1", "threads 2, batch 16"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_measured_tables_follow_from_the_logs(path: Path) -> None:
    assert path.read_text() == renewed(path.read_text()), "run: make figures"


def test_every_table_is_shown_and_every_mark_is_closed() -> None:
    texts = [path.read_text() for path in DOCUMENTS]
    assert {name for text in texts for _, name, _ in BLOCK.findall(text)} == set(TABLES)
    for text in texts:
        marks = text.count("<!-- measured:"), text.count("<!-- end of measured -->")
        assert marks == (len(BLOCK.findall(text)),) * 2


def test_the_example_of_active_pairs() -> None:
    """What docs/ARCHITECTURE.md counts by hand."""
    layer = Conv("conv", (8, 8, 16), 128)
    middle, border, corner = (layer.coverage[place] for place in ((4, 4), (0, 4), (0, 0)))
    text = " ".join((ROOT / "docs/ARCHITECTURE.md").read_text().split())
    pairs = f"{middle} active pairs, one at the border {border}, one in a corner {corner}"
    assert pairs in text
    assert f"{middle * layer.fan_out:,} synaptic operations" in text


def single_images() -> Iterator[tuple[str, str]]:
    """What is said of one image in every runtime."""
    result = logged("engines")
    rows = result["contenders"]

    def time(name: str, setting: str = ALONE) -> Any:
        return rows[name]["times"][setting]

    early, static = time("event engine, early exit"), time("event engine, all T")
    dense, int8 = time("ANN, ONNX Runtime float32"), time("ANN, ONNX Runtime int8")
    jelly, torch = time("SpikingJelly, T = 4"), time("snnTorch, T = 4")
    openvino = "ANN, OpenVINO int8"
    accuracies = [rows[name]["accuracy"] for name in (result["baseline"], "ANN, ONNX Runtime int8")]
    more = 100 * (accuracies[1] - accuracies[0])
    yield README, f"The ordinary network is {more:.1f} points more accurate"
    yield BENCHMARKS, f"the same {result['images']} evenly spaced test images"
    yield BENCHMARKS, f"({result['average_timesteps']:.3f} average timesteps by default)"
    yield BENCHMARKS, f"{result['repetitions']} repetitions through all contenders"
    yield (
        BENCHMARKS,
        f"one image takes {early['ms']:.2f} ms on one core: {dense['ratio']:.1f} times",
    )
    yield BENCHMARKS, f"and {int8['ratio']:.1f} times less than its int8"
    yield BENCHMARKS, f"both of them {more:.1f} points more accurate"
    yield BENCHMARKS, f"{jelly['ratio']:.0f} times less than SpikingJelly's four timesteps"
    yield BENCHMARKS, f"All four timesteps take {static['ms']:.2f} ms"
    yield BENCHMARKS, f"a factor of {static['ratio']:.1f} to early exit"
    yield BENCHMARKS, f"{jelly['ms'] / static['ms']:.0f} times faster than SpikingJelly"
    yield BENCHMARKS, f"{torch['ms'] / static['ms']:.0f} times faster than snnTorch"
    yield BENCHMARKS, f"{dense['ms'] / static['ms']:.1f} times faster than ONNX Runtime's float32"
    yield BENCHMARKS, f"{static['ms'] / int8['ms']:.1f} times slower than its int8"
    yield BENCHMARKS, f"It is {more:.1f} points more accurate: it is compared"
    two = time(openvino, "threads 2, batch 1")
    yield BENCHMARKS, f"OpenVINO's int8 comes closest ({two['ratio']:.1f} times)"
    ranges = [time(name, BATCHED) for name in ("ANN, ONNX Runtime int8", openvino)]
    spread = [f"{one['ms_min']:.3f}…{one['ms_max']:.3f} ms" for one in ranges]
    yield BENCHMARKS, f"ONNX Runtime {spread[0]}, OpenVINO {spread[1]} at batch 16"


def later_timesteps() -> Iterator[tuple[str, str]]:
    """What is said of early exit on the default bundle."""
    result = logged("results/early-exit-vgg8-cifar10")
    accuracies = result["accuracy_by_timestep"]
    gain = 100 * (max(accuracies) - accuracies[0])
    yield README, f"They bring {gain:.1f} points of accuracy at best"
    yield README, f"after {result['average_timesteps']:.2f} timesteps on average"
    first = result["exit_histogram"][0] / result["images"]
    yield BENCHMARKS, f"{first * 30:.0f} of 30 images leave after one timestep"


def servers() -> Iterator[tuple[str, str]]:
    """What is said of servers under load."""
    result = logged("serving")
    shares = result["ceilings"]["shares"]
    ours = shares["SpikeServe, event engine, 1 core"]
    share = ours["share"]
    peer = shares["request batches, shrinking, event engine, 1 core"]["share"]
    plan = result["plan"]
    yield BENCHMARKS, f"the same {plan['images']} PNG files"
    yield BENCHMARKS, f"with {plan['connections']} connections"
    yield BENCHMARKS, f"allow {ours['ceiling']['median']:.0f} answers a second on one core"
    around = f"{100 * share['min']:.0f}…{100 * share['max']:.0f} %"
    yield (
        BENCHMARKS,
        f"gives {100 * share['median']:.0f} % of that ({around} in the nine repetitions",
    )
    yield BENCHMARKS, f"The second row gives {100 * peer['median']:.0f} % of it"
    yield BENCHMARKS, f"metrics cost SpikeServe {100 * result['metrics_us']['share']:.0f} %"
    mixes = result["continuous_over_request_level"]
    whole, shrinking = (f"request batches, {how}, onnx engine" for how in ("whole", "shrinking"))
    plain, mixed = mixes["default"], mixes["mixed"]
    yield BENCHMARKS, f"has {plain[whole]['capacity']:.1f} times the capacity of batches"
    steps = f"{mixed[whole]['mean_timesteps']:.1f} timesteps on average"
    yield BENCHMARKS, f"{mixed[whole]['capacity']:.1f} times with mixed thresholds ({steps})"
    yield BENCHMARKS, f"but {plain[whole]['goodput 50 ms']} of their goodput at 50 ms"
    capacities = f"{plain[shrinking]['capacity']} and {mixed[shrinking]['capacity']} times"
    yield BENCHMARKS, f"its capacity is {capacities}"
    names = ("SpikeServe, event engine", "SpikeServe, event engine, a process a core")
    one, two = (result["two_cores"]["servers"][name]["capacity"]["median"] for name in names)
    yield BENCHMARKS, f"one process answers {one:,.0f} a second and two processes"
    less = [100 * shares[f"{name}, 2 cores"]["share_less"]["median"] for name in names]
    yield BENCHMARKS, f"{two:,.0f}: {less[0]:.0f} and {less[1]:.0f} % of the ceiling"


def energies() -> Iterator[tuple[str, str]]:
    """What is said of energy on the chip that was not built."""
    result = logged("energy")
    row = next(
        one
        for one in result["reductions"]
        if (one["bundle"], one["profile"]) == ("early-exit-vgg8-cifar10 1", "dtsnn-calibrated-65nm")
    )
    slow = next(
        one
        for one in result["reductions"]
        if (one["bundle"], one["profile"]) == (row["bundle"], "dtsnn-serial-pixels-65nm")
    )
    cuts = f"{100 * row['edp_cut']:.0f} to {100 * slow['edp_cut']:.0f} %"
    yield ENERGY, f"bring its EDP cut from {cuts}"
    first, *_, last = (f"{100 * share:.0f} %" for share in row["edp_shares"])
    leaving = row["exit_histogram"]
    yield BENCHMARKS, f"the {leaving[0]:,} images that leave first take {first}"
    yield BENCHMARKS, f"the {leaving[-1]} that run to the end {last}"
    ann, static = row["ann_pj"] / 1e6, row["static_pj"] / 1e6
    yield BENCHMARKS, f"takes {ann:.1f} µJ on the same chip. All four timesteps ({static:.1f} µJ)"
    hundred = logged("results/hybrid-vgg8-cifar100")
    unsure = max(hundred["curve"], key=lambda point: point[1])
    gain = 100 * (unsure[1] - hundred["accuracy_by_timestep"][0])
    yield BENCHMARKS, f"they add {gain:.2f} points if only the unsure go on, at {unsure[2]:.2f}"
    cost = result["cost"]
    share = 100 * cost["share_of_inference"]["inference, batch 1"]["median"]
    times = f"({cost['us']['estimate']:.0f} of {cost['us']['inference, batch 1']:.0f} µs"
    yield BENCHMARKS, f"costs {share:.1f} % of an inference {times}"


def single_layers() -> Iterator[tuple[str, str]]:
    """What is said of layers and threads."""
    result = logged("layers")
    sweep = {row["density"]: row for row in result["sweeps"]["density"]}
    dense = [round(row["dense_us"], -2) for row in sweep.values()]
    yield ENGINES, f"takes {min(dense):.0f} to {max(dense):.0f} µs for the 128→128 layer"
    one, ten, half = (f"{sweep[density]['event_us']:.0f}" for density in (1, 10, 50))
    yield ENGINES, f"engine takes {one} µs at 1 %, {ten} at 10 % and {half} at 50 %"
    yield ENGINES, f"up to {max(point['gsop'] for point in result['roof']):.0f} GSOP/s"
    compared = logged("engines")
    scaling, rows = compared["two_threads_batch_16"], compared["contenders"]
    around = f"({scaling['min']}…{scaling['max']})"
    yield ENGINES, f"two threads are {scaling['median']} times {around} as fast as one"
    gains = [
        rows[name]["times"]["threads 1, batch 16"]["ms"] / rows[name]["times"][BATCHED]["ms"]
        for name in ("event engine, all T", "event engine, early exit")
    ]
    yield ENGINES, f"gain {gains[0]:.2f} times, and {gains[1]:.2f} with early exit"


@pytest.mark.parametrize("said", [single_images, later_timesteps, servers, energies, single_layers])
def test_sentences_quote_what_was_logged(said: Any) -> None:
    for document, sentence in said():
        text = " ".join((ROOT / document).read_text().split())
        assert sentence in text, f"{document} does not say: {sentence}"
