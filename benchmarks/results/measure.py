"""Everything docs/RESULTS.md says about one bundle, as one JSON document."""

from __future__ import annotations

import base64
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.energy.reduction import as_document, reductions
from benchmarks.machine import libraries, machine
from benchmarks.results import rules, shift
from benchmarks.results.claim import claimed
from spikeserve.models.bundle import Bundle, load_bundle
from spikeserve.models.encoding import Pixels
from spikeserve.models.energy.baselines import operations
from spikeserve.models.engines.event import EventEngine
from spikeserve.models.exits import select_exits
from spikeserve.models.inference import Counts, Trace, trace
from spikeserve.training.data import Split, held_out, titled

EXAMPLES = 16
CURVE = tuple(round(k / 50, 2) for k in range(51))


def measured(folder: Path, data: Path) -> dict[str, Any]:
    """Run one bundle over its test images; whatever is tuned, on held-out ones."""
    bundle = load_bundle(folder)
    manifest, provenance = bundle.manifest, bundle.manifest.training
    dataset = titled(provenance.dataset)
    engine = EventEngine(bundle.program)
    test = dataset.test(data)
    _, rest = held_out(dataset.train(data), provenance.calibration_images, provenance.seed)
    calibration, run = (trace(engine, manifest.encoding, s.images) for s in (rest, test))
    network = manifest.network
    return {
        "bundle": manifest.name,
        "version": manifest.version,
        "dataset": dataset.title,
        "labels": manifest.labels,
        "recipe": provenance.recipe,
        "seed": provenance.seed,
        "training_images": provenance.training_images,
        "trained_on": provenance.hardware,
        "training_seconds": provenance.training_seconds,
        "pretraining": [earlier.model_dump() for earlier in provenance.pretraining],
        "images": len(test),
        "encoding": manifest.encoding.kind,
        "timesteps": manifest.timesteps,
        "fire_once": all(lif.fire_once for lif in network.lifs),
        "reset": network.lifs[0].reset,
        "layers": len(network.matrices),
        "macs": network.macs,
        "parameters": network.parameters,
        "weight_bits": manifest.weight_bits,
        "sharpness": manifest.exits.sharpness,
        "threshold": manifest.default_threshold,
        "spike_rates": (run.spikes.mean(axis=1) / _neurons(bundle)).round(5).tolist(),
        "mean_spike_rate": float((run.spikes.sum(axis=2) / sum(_neurons(bundle))).mean()),
        **_exits(bundle, run, test),
        "rules": rules.compared(bundle, calibration, rest, run, test),
        "energy": [as_document(one) for one in reductions(folder, test)],
        "claim": _claims(bundle, run),
        "shift": shift.measured(bundle, engine, test, data),
        "machine": machine(),
        "libraries": libraries(),
    }


def _neurons(bundle: Bundle) -> list[int]:
    return [int(np.prod(lif.in_shape)) for lif in bundle.manifest.network.lifs]


def _exits(bundle: Bundle, run: Trace, test: Split) -> dict[str, Any]:
    manifest = bundle.manifest
    entropies = run.entropies(manifest.readout)
    right = run.predictions == test.labels
    steps = select_exits(entropies, manifest.policy())

    def hits(exits: Counts) -> float:
        return float(right[exits - 1, np.arange(len(exits))].mean())

    curve = []
    for threshold in CURVE:
        exits = select_exits(entropies, manifest.policy(entropy_threshold=threshold))
        curve.append([threshold, hits(exits), float(exits.mean())])
    return {
        "accuracy_by_timestep": right.mean(axis=1).tolist(),
        "accuracy": hits(steps),
        "average_timesteps": float(steps.mean()),
        "exit_histogram": [int((steps == t).sum()) for t in range(1, manifest.timesteps + 1)],
        "accuracy_by_exit": [
            float(right[t - 1, steps == t].mean()) if (steps == t).any() else None
            for t in range(1, manifest.timesteps + 1)
        ],
        "curve": curve,
        "examples": {
            "first": _examples(test, run, steps, 1),
            "last": _examples(test, run, steps, manifest.timesteps),
        },
    }


def _examples(test: Split, run: Trace, steps: Counts, t: int) -> list[dict[str, Any]]:
    """A few of the images that leave at ``t``, drawn without looking, and what they were called."""
    drawn = np.random.default_rng(t).permutation(np.flatnonzero(steps == t))[:EXAMPLES]
    answers = run.predictions[t - 1]
    return [
        {
            "index": int(row),
            "label": int(test.labels[row]),
            "predicted": int(answers[row]),
            "png": _png(test.images[row]),
        }
        for row in drawn
    ]


def _png(image: Pixels) -> str:
    file = BytesIO()
    Image.fromarray(image.squeeze()).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def _claims(bundle: Bundle, run: Trace) -> dict[str, Any]:
    manifest = bundle.manifest
    layers = manifest.network.synaptic
    first = layers[0].macs
    steps = select_exits(run.entropies(manifest.readout), manifest.policy())
    taken = np.arange(1, manifest.timesteps + 1)[:, None] <= steps
    pairs = {
        "static": run.active_pairs.mean(axis=1),
        "early": (run.active_pairs * taken[:, :, None]).mean(axis=1),
    }
    found = {}
    for name, mean in pairs.items():
        counted = operations(layers, manifest.encoding, mean)
        if name == "early" and manifest.encoding.kind == "direct":  # frames that exits skip
            counted = counted._replace(macs=round(first * float(steps.mean())))
        claim = claimed(counted, first)
        found[name] = asdict(claim) | {
            "price": claim.price, "cap": claim.cap, "ratio": claim.ratio,
        }  # fmt: skip
    return found
