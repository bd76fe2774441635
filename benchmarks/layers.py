"""One layer at a time: synaptic operations a second, share of the roof, and how time grows.

    python -m benchmarks.layers [--repetitions 30]

A layer's time is all the engine does for it: events from the spikes before, sums, neurons.
The *roof* is the same inner loop over all weight rows in order, events given, no neurons:
what the machine adds when nothing is skipped and every prefetch is right. It depends on the
cache that the weights fit in. ONNX Runtime's dense float32 convolution of the same shape, in
the same run, is what the sweeps are compared with.
Writes ``docs/benchmarks/layers.json``, ``.md`` and two pictures.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numba import njit
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks.machine import libraries, machine
from benchmarks.pictures import growth, roofline
from spikeserve.models.engines.kernels.arguments import WORD
from spikeserve.models.engines.kernels.events import mask_events
from spikeserve.models.engines.kernels.layout import Layout
from spikeserve.models.engines.kernels.neurons import memory_at
from spikeserve.models.engines.kernels.packing import aligned
from spikeserve.models.engines.kernels.pointers import bare
from spikeserve.models.engines.kernels.step import synaptic_layer
from spikeserve.models.engines.kernels.sums import event_row
from spikeserve.models.layers import Conv, Lif, Linear
from spikeserve.models.network import Network
from spikeserve.models.program import IntegerNeurons, IntegerWeights, Program

RESULTS = Path("docs/benchmarks")
DENSITY = 0.10
LAYERS = ((64, 64, 32), (128, 128, 16), (256, 256, 8), (512, 512, 4))  # c_in, c_out, side
DENSITIES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
WIDTHS = (32, 64, 128, 256, 512)
SIDES = (4, 8, 16, 32, 64)
INNER = 20  # calls a repetition

Result = dict[str, Any]


@njit
def _layer_calls(calls, index, gain, tables, scratch, before, after, inputs, logits):  # type: ignore[no-untyped-def]
    tables, scratch = bare(tables), bare(scratch)
    memory = memory_at(before, after, tables.neurons[2].membranes_at)
    for k in range(inputs.size):
        scratch.masks[k] = inputs[k]
    pairs = 0
    masks, fired = scratch.masks, scratch.spare_masks
    for _ in range(calls):
        found, _, _ = synaptic_layer(
            index, True, gain, tables, scratch, memory, masks, fired, logits
        )
        pairs += found
    return pairs


@njit
def _sum_calls(calls, layer, part, events, weights, currents):  # type: ignore[no-untyped-def]
    pairs = 0
    for _ in range(calls):
        start = 0
        while start < part.lanes:
            width = 128 if start + 128 <= part.lanes else 64
            for y in range(layer.out_height):
                pairs += event_row(layer, part, y, start, width, events, weights, currents) * width
            start += width
    return pairs


def one_layer(conv: Conv) -> Program:
    """A program whose second layer is ``conv``; the first only gives it spiking inputs."""
    shape = conv.in_shape
    first = Conv("in", shape, shape[2], kernel=1, padding=0, shift=8)
    layers = (
        first,
        Lif("lif.in", shape),
        conv,
        Lif("lif", conv.out_shape, leak_q=140),
        Linear("out", conv.out_shape, 2),
    )
    network = Network(layers)
    rng = np.random.default_rng(0)
    weights = []
    for layer in network.synaptic:
        limit = 32000 // layer.weight_shape[0]
        bound = max(1, min(127, limit)) if layer is conv else 0
        weight = rng.integers(-bound, bound + 1, layer.weight_shape).astype(np.int8)
        weights.append(IntegerWeights(weight, np.zeros(layer.out_channels, np.int32)))
    thresholds = tuple(np.full(lif.in_shape[2], 300, np.int32) for lif in network.lifs)
    return Program(network, tuple(weights), tuple(map(IntegerNeurons.plain, thresholds)), 1.0)


def spike_masks(shape: tuple[int, int, int], density: float) -> NDArray[np.uint64]:
    """Random spikes as mask words, position after position."""
    height, width, channels = shape
    spikes = np.random.default_rng(1).random((height * width, channels)) < density
    padded = np.pad(spikes, ((0, 0), (0, -channels % WORD)))
    return np.packbits(padded, axis=1, bitorder="little").view("<u8").ravel().astype(np.uint64)


def event_call(conv: Conv, density: float) -> tuple[Callable[[int], int], int]:
    """A call of the event kernels for one layer (times n), and its synaptic operations."""
    layout = Layout.of(one_layer(conv))
    scratch = layout.scratch()
    inputs = spike_masks(conv.in_shape, density)
    logits = np.zeros(2, np.int32)
    old, new = (aligned(np.zeros(layout.membranes * 3, np.uint8)) for _ in range(2))

    def call(calls: int) -> int:
        pairs: int = _layer_calls(
            calls, 1, 1, layout.tables, scratch, np.uint64(old.ctypes.data),
            np.uint64(new.ctypes.data), inputs, logits,
        )  # fmt: skip
        return pairs

    return call, call(1) * conv.out_channels


def roof_call(channels: int, side: int) -> tuple[Callable[[int], int], int, float]:
    """All rows in order for a layer of this size: call, operations, KiB of weights."""
    conv = Conv("conv", (side, side, channels), channels)
    layout = Layout.of(one_layer(conv))
    tables, scratch = layout.tables, layout.scratch()
    layer, part = tables.layers[1], tables.parts[1]
    masks = spike_masks(conv.in_shape, 2.0)
    mask_events(masks, layer, part, tables.read_masks, scratch.events)

    def call(calls: int) -> int:
        pairs: int = _sum_calls(
            calls, layer, part, scratch.events, tables.weights.event, scratch.currents
        )
        return pairs

    return call, call(1), 9 * channels * channels / 1024


def dense_call(conv: Conv) -> Callable[[int], None]:
    """ONNX Runtime's convolution of the same shape, one thread."""
    height, width, channels = conv.in_shape
    weight = np.random.default_rng(2).normal(
        size=(conv.out_channels, channels, *conv.window.kernel)
    )
    out_height, out_width, out_channels = conv.out_shape
    out = [1, out_channels, out_height, out_width]
    node = helper.make_node(
        "Conv", ["x", "w"], ["y"], pads=conv.window.padding * 2, strides=conv.window.stride
    )
    graph = helper.make_graph(
        [node],
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, height, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(weight.astype(np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    x = np.random.default_rng(3).normal(size=(1, channels, height, width)).astype(np.float32)

    def call(calls: int) -> None:
        for _ in range(calls):
            session.run(None, {"x": x})

    return call


def microseconds(call: Callable[[int], Any], repetitions: int) -> list[float]:
    """Of one call, a list over repetitions."""
    call(INNER)
    times = []
    for _ in range(repetitions):
        started = time.perf_counter()
        call(INNER)
        times.append((time.perf_counter() - started) * 1e6 / INNER)
    return times


def rated(call: Callable[[int], Any], operations: int, repetitions: int) -> dict[str, float]:
    times = microseconds(call, repetitions)
    middle = statistics.median(times)
    return {
        "us": round(middle, 2),
        "us_min": round(min(times), 2),
        "us_max": round(max(times), 2),
        "gsop": round(operations / middle / 1e3, 1),
    }


def point(conv: Conv, density: float, repetitions: int) -> dict[str, float]:
    """Event engine against dense convolution, both in microseconds."""
    call, _ = event_call(conv, density)
    return {
        "event_us": round(statistics.median(microseconds(call, repetitions)), 2),
        "dense_us": round(statistics.median(microseconds(dense_call(conv), repetitions)), 2),
    }


def measure(repetitions: int) -> Result:
    """Layers, roof and sweeps as one JSON document."""
    layers = []
    for c_in, c_out, side in LAYERS:
        conv = Conv("conv", (side, side, c_in), c_out)
        call, operations = event_call(conv, DENSITY)
        roof, all_operations, kib = roof_call(c_out, side)
        best = rated(roof, all_operations, repetitions)["gsop"]
        result = rated(call, operations, repetitions)
        name = f"{c_in}→{c_out} at {side}×{side}"
        layers.append(
            {
                "name": name,
                "kib": kib,
                **result,
                "roof_gsop": best,
                "share": round(result["gsop"] / best, 3),
            }
        )
    roofs = []
    for channels in (16, 32, 64, 128, 192, 256, 384, 512, 768):
        call, operations, kib = roof_call(channels, 4)
        roofs.append({"kib": kib, **rated(call, operations, repetitions)})
    middle = Conv("conv", (16, 16, 128), 128)
    return {
        "date": date.today().isoformat(),
        "machine": machine(),
        "libraries": libraries(),
        "repetitions": repetitions,
        "density": DENSITY,
        "layers": layers,
        "roof": roofs,
        "sweeps": {
            "density_of": "128→128 at 16×16",
            "density": [{"density": 100 * d, **point(middle, d, repetitions)} for d in DENSITIES],
            "width_of": "8×8, 10 % density",
            "width": [
                {"width": w, **point(Conv("conv", (8, 8, w), w), DENSITY, repetitions)}
                for w in WIDTHS
            ],
            "size_of": "64→64, 10 % density",
            "size": [
                {"size": s, **point(Conv("conv", (s, s, 64), 64), DENSITY, repetitions)}
                for s in SIDES
            ],
        },
    }


def table(result: Result) -> str:
    """Layers and sweeps in Markdown."""
    lines = ["| layer, 10 % density | µs | GSOP/s | its roof | share |", "|---|---|---|---|---|"]
    for row in result["layers"]:
        lines.append(
            f"| {row['name']} | {row['us']} ({row['us_min']}…{row['us_max']}) | {row['gsop']} "
            f"| {row['roof_gsop']} | {100 * row['share']:.0f} % |"
        )
    for sweep in ("density", "width", "size"):
        points = result["sweeps"][sweep]
        lines += [
            f"\n| {sweep} ({result['sweeps'][f'{sweep}_of']}) | event µs | dense µs | ratio |",
            "|---|---|---|---|",
        ]
        for row in points:
            lines.append(
                f"| {row[sweep]:g} | {row['event_us']} | {row['dense_us']} "
                f"| {row['dense_us'] / row['event_us']:.2f}× |"
            )
    facts = result["machine"]
    lines.append(
        f"\n{facts['processor']} ({facts['architecture']}), one thread, medians of "
        f"{result['repetitions']} repetitions of {INNER} calls, {result['date']}."
    )
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    result = measure(options.repetitions)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "layers.json").write_text(json.dumps(result, indent=1) + "\n")
    (options.out / "layers.md").write_text(table(result))
    roofline(result, options.out / "roofline.png")
    growth(result, options.out / "growth.png")
    print(table(result))


if __name__ == "__main__":
    main()
