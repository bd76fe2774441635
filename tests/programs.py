"""Small random programs and bundles, built without training."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from spikeserve.models.bundle import save_bundle
from spikeserve.models.encoding import Encoding
from spikeserve.models.layers import Lif, Shape
from spikeserve.models.manifest import ExitPoint, Exits, Manifest, Provenance
from spikeserve.models.network import Network, input_maximum
from spikeserve.models.plans import planned
from spikeserve.models.program import CURRENT_LIMIT, IntegerNeurons, IntegerWeights, Program
from spikeserve.training.export import step_graph

TIMESTEPS = 4
PLAN = ("12", "16/2", "P", "24")
IMAGE_SHAPE: Shape = (16, 16, 3)
LABELS = tuple(f"class{k}" for k in range(10))


def random_program(network: Network, seed: int = 0) -> Program:
    """Random weights with lively thresholds, inside the integer contract."""
    rng = np.random.default_rng(seed)
    weights = []
    for layer in network.synaptic:
        rows, _ = layer.weight_shape
        bias_bound = 100
        limit = (CURRENT_LIMIT - bias_bound) * 2**layer.shift
        bound = min(127, limit // (rows * input_maximum(network, layer)))
        weight = rng.integers(-bound, bound + 1, layer.weight_shape).astype(np.int8)
        bias = rng.integers(-bias_bound, bias_bound + 1, layer.out_channels).astype(np.int32)
        weights.append(IntegerWeights(weight, bias))
    thresholds = [rng.integers(50, 600, lif.in_shape[2]).astype(np.int32) for lif in network.lifs]
    neurons = tuple(map(IntegerNeurons.plain, thresholds))
    return Program(network, tuple(weights), neurons, logit_scale=0.003)


def random_network(
    plan: tuple[str, ...] = PLAN,
    shape: Shape = IMAGE_SHAPE,
    leak_q: int = 230,
    reset: Literal["hard", "soft"] = "hard",
    fire_once: bool = True,
) -> Network:
    return planned(plan, shape, len(LABELS), leak_q=leak_q, reset=reset, fire_once=fire_once)


def tiny_manifest(
    program: Program,
    name: str = "tiny",
    timesteps: int = TIMESTEPS,
    labels: tuple[str, ...] = LABELS,
    encoding: Encoding | None = None,
) -> Manifest:
    """A manifest with made-up calibration."""
    point = ExitPoint(entropy_threshold=0.8, accuracy=0.1, average_timesteps=2.0)
    return Manifest(
        name=name,
        version="1",
        description="random weights for tests",
        created="2026-01-01T00:00:00+00:00",
        labels=labels,
        encoding=encoding or Encoding("hybrid", timesteps),
        layers=program.network.layers,
        logit_scale=program.logit_scale,
        weight_bits=8,
        exits=Exits(
            temperatures=(1.0,) * timesteps,
            default_entropy_threshold=0.8,
            accuracy_by_timestep=(0.1,) * timesteps,
            table=(point,),
            mean_active_pairs=(tuple(layer.connections / 10 for layer in program.network.synaptic),)
            * timesteps,
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


def recording_bundle(
    folder: Path, timesteps: int = TIMESTEPS, largest_count: int = 3, leak: float | None = 0.5
) -> Path:
    """A bundle that takes frames of two channels, whose neurons spike several times a timestep,
    whose readout leaks and which nobody has calibrated."""
    network = random_network(PLAN, (16, 16, 2), reset="soft", fire_once=False)
    layers = [
        replace(layer, max_spikes=7) if isinstance(layer, Lif) else layer
        for layer in network.layers
    ]
    plain = random_program(Network(tuple(layers)))
    program = replace(plain, largest_count=largest_count)
    encoding = Encoding("frames", timesteps, largest_count)
    manifest = tiny_manifest(program, "recordings", timesteps, encoding=encoding)
    exits = manifest.exits.model_copy(
        update={
            "accumulation": "mean" if leak is None else "leaky",
            "readout_leak": leak,
            "default_entropy_threshold": None,
            "accuracy_by_timestep": None,
            "table": (),
        }
    )
    manifest = manifest.model_copy(update={"exits": exits})
    save_bundle(folder, manifest, program, step_graph(program).SerializeToString())
    return folder


def save_tiny_bundle(folder: Path, name: str = "tiny", seed: int = 0) -> Path:
    program = random_program(random_network(), seed)
    save_bundle(
        folder, tiny_manifest(program, name), program, step_graph(program).SerializeToString()
    )
    return folder
