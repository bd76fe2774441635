"""Evaluation of a bundle on the test set, for its card. Nothing is tuned here."""

from __future__ import annotations

import math

import numpy as np

from spikeserve.models.bundle import Bundle
from spikeserve.models.energy.estimate import EnergyModel
from spikeserve.models.energy.hardware import load_profile
from spikeserve.models.engines.contract import Engine
from spikeserve.models.inference import Counts, Trace, trace
from spikeserve.models.manifest import Evaluation, ExitPoint, Manifest
from spikeserve.training.calibrate import THRESHOLDS, exit_point
from spikeserve.training.data import Split
from spikeserve.training.data.dataset import Labels

CONFIDENCE_Z = 1.96
"""Of a normal distribution, 95 % lie within so many standard deviations."""


def accuracy_interval(accuracy: float, images: int) -> tuple[float, float]:
    """Between what the accuracy on unlimited images like these lies with 95 % confidence.

    E. B. Wilson's score interval (1927), which holds near 0 and 1 and for few images as well.
    """
    z = CONFIDENCE_Z
    middle = accuracy + z * z / (2 * images)
    half = z * math.sqrt(accuracy * (1 - accuracy) / images + z * z / (4 * images * images))
    scale = 1 + z * z / images
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def evaluated(bundle: Bundle, engine: Engine, test: Split, dataset: str) -> Evaluation:
    """Run all timesteps on every test image once, then select exits for all thresholds.

    Exits selected afterwards equal real early exits: a tested invariant.
    """
    run = trace(engine, bundle.manifest.encoding, test.images)
    return measured(bundle.manifest, run, test.labels, dataset, engine.name)


def measured(
    manifest: Manifest, run: Trace, labels: Labels, dataset: str, engine: str
) -> Evaluation:
    """The same from a full run on images of ``labels [N]``."""
    entropies = run.entropies(manifest.readout)
    energy = EnergyModel(manifest, load_profile())

    def point(threshold: float) -> tuple[ExitPoint, Counts]:
        result, exits = exit_point(run, entropies, labels, threshold)
        mean = float(energy.estimates(run.active_pairs, exits).total_pj.mean())
        return result.model_copy(update={"energy_pj": round(mean, 1)}), exits

    default, exits = point(manifest.default_threshold)
    neurons = np.array([np.prod(lif.in_shape) for lif in manifest.network.lifs])
    rates = run.spikes.mean(axis=1) / neurons
    return Evaluation(
        dataset=dataset,
        images=len(labels),
        engine=engine,
        accuracy_by_timestep=tuple(float(x) for x in (run.predictions == labels).mean(axis=1)),
        default=default,
        exit_histogram=tuple(int((exits == t).sum()) for t in range(1, manifest.timesteps + 1)),
        table=tuple(point(threshold)[0] for threshold in THRESHOLDS),
        spikes_per_neuron_and_step=tuple(
            tuple(round(float(rate), 5) for rate in row) for row in rates
        ),
    )
