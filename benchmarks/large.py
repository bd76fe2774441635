"""Networks for larger pictures: what loading, a timestep and a request take: ``make bench-large``.

The networks are VGG-8 as ``spiketrain new`` plans it for a picture's size, and for 224 pixels
VGG-16 as published, without its two large linear layers. Nobody has trained them: weights are
random, thresholds so that a tenth of the neurons fires or somewhat more, which the table tells.
Each is served by a process of its own and asked about photographs of 1,600 x 1,200 pixels, all
timesteps, one after the other.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from benchmarks.machine import machine
from benchmarks.servers import Server
from benchmarks.servers.processes import ServerProcess
from spikeserve.models.bundle import GRAPH, save_bundle
from spikeserve.models.classifier import load
from spikeserve.models.encoding import Encoding
from spikeserve.models.engines.cores import usable_cores
from spikeserve.models.manifest import Exits, Manifest, Provenance
from spikeserve.models.network import Network
from spikeserve.models.plans import planned, vgg8
from spikeserve.models.program import IntegerNeurons, IntegerWeights, Program
from spikeserve.training.export import step_graph

LOG = Path("docs/benchmarks/large.json")
TIMESTEPS, CLASSES = 4, 10
VGG16 = (
    *("64", "64", "P", "128", "128", "P", "256", "256", "256", "P"),
    *("512", "512", "512", "P") * 2,
)
NETWORKS = {
    "VGG-8": ((64, vgg8(64)), (96, vgg8(96)), (224, vgg8(224))),
    "VGG-16": ((224, VGG16),),
}
FIRING = 1.3  # thresholds, in standard deviations of what is expected of currents
WEIGHT = 20.0  # standard deviation
BRIGHTNESS = 150.0  # root mean square of pixels
SHARE = 0.12  # of inputs that are spikes, as expected
SIZE = (1600, 1200)
REQUESTS = 20


def lively(network: Network) -> Program:
    """Random weights, thresholds that some neurons reach."""
    draw = np.random.default_rng(0)
    weights, thresholds = [], []
    for index, layer in enumerate(network.synaptic):
        matrix = draw.normal(0, WEIGHT, layer.weight_shape).round().clip(-127, 127)
        weights.append(
            IntegerWeights(matrix.astype(np.int8), np.zeros(layer.out_channels, np.int32))
        )
        inputs = BRIGHTNESS if index == 0 else SHARE**0.5
        spread = WEIGHT * inputs * layer.weight_shape[0] ** 0.5 / 2**layer.shift
        thresholds.append(np.full(layer.out_channels, round(FIRING * spread), np.int32))
    neurons = tuple(map(IntegerNeurons.plain, thresholds[:-1]))
    return Program(network, tuple(weights), neurons, logit_scale=0.001)


def manifest(name: str, program: Program) -> Manifest:
    """Of a bundle that nobody has calibrated."""
    pairs = tuple(layer.connections * SHARE for layer in program.network.synaptic)
    return Manifest(
        name=name,
        version="1",
        description="random weights, for measuring",
        created="2026-01-01T00:00:00+00:00",
        labels=tuple(map(str, range(CLASSES))),
        encoding=Encoding("direct", TIMESTEPS),
        layers=program.network.layers,
        logit_scale=program.logit_scale,
        weight_bits=8,
        exits=Exits(
            temperatures=(1.0,) * TIMESTEPS,
            default_entropy_threshold=None,
            accuracy_by_timestep=None,
            table=(),
            mean_active_pairs=(pairs,) * TIMESTEPS,
        ),
        provenance=Provenance(
            recipe="none",
            recipe_sha256=hashlib.sha256(b"").hexdigest(),
            dataset="none",
            dataset_sha256={},
            seed=0,
            training_images=0,
            calibration_images=0,
            software={},
            hardware="none",
        ),
    )


def photographs(count: int) -> list[bytes]:
    """JPEG files: noise made smooth, so that they cost what photographs do."""
    draw, files = np.random.default_rng(1), []
    for _ in range(count):
        coarse = draw.integers(0, 256, (SIZE[1] // 16, SIZE[0] // 16, 3), np.uint8)
        picture = Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC)
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


def measured(name: str, side: int, plan: tuple[str, ...], folder: Path) -> dict[str, Any]:
    """One network: load, memory, and the requests' median times on one and two threads."""
    network = planned(plan, (side, side, 3), CLASSES, leak_q=256, reset="soft", fire_once=False)
    program = lively(network)
    bundle = folder / f"{name}-{side}"
    graph = step_graph(program).SerializeToString()
    save_bundle(bundle, manifest(bundle.name, program), program, graph)
    files = photographs(REQUESTS)
    spikes = load(bundle).trace(files[0]).spikes
    result: dict[str, Any] = {
        "side": side,
        "plan": " ".join(plan),
        "neurons": network.neurons,
        "macs": network.macs,
        "firing": round(float(spikes.sum() / TIMESTEPS / network.neurons), 3),
        "graph_bytes": (bundle / GRAPH).stat().st_size,
        "threads": {},
    }
    server = Server(
        "SpikeServe",
        "spikeserve.service",
        arguments=("--bundle", str(bundle)),
        threads="--engine-threads",
    )
    for threads in sorted({1, usable_cores()}):
        began = time.monotonic()
        process = ServerProcess(server, set(range(threads)), files[0], folder / "service.log")
        try:
            process.wait()
            ready = time.monotonic() - began
            result["threads"][threads] = {
                "ready_s": round(ready, 1),
                **asked(process.port, files),
                "peak_mib": process.peak_mib,
            }
        finally:
            process.end()
    return result


def asked(port: int, files: Sequence[bytes]) -> dict[str, Any]:
    """Medians over requests for all timesteps, one after the other."""
    whole, steps, decodes = [], [], []
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=120) as client:
        for file in files:
            began = time.perf_counter()
            answer = client.post(
                "/classify?entropy_threshold=0",
                content=file,
                headers={"Content-Type": "image/jpeg"},
            ).json()
            whole.append(1000 * (time.perf_counter() - began))
            steps.append(answer["timing_ms"]["inference"] / TIMESTEPS)
            decodes.append(answer["timing_ms"]["decode"])
    return {
        "request_ms": round(statistics.median(whole), 1),
        "decode_ms": round(statistics.median(decodes), 1),
        "timestep_ms": round(statistics.median(steps), 2),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, sizes in NETWORKS.items():
            for side, plan in sizes:
                found.append({"name": name, **measured(name, side, plan, Path(folder))})
                print(json.dumps(found[-1]), flush=True)
    document = {"machine": machine(), "requests": REQUESTS, "networks": found}
    LOG.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
