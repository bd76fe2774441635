"""The served bundle on the test set: what the card reports. Nothing is tuned here."""

from __future__ import annotations

import numpy as np

from models.bundle import Bundle, Evaluation, ExitPoint
from models.energy.estimate import EnergyModel
from models.energy.hardware import DTSNN_CALIBRATED_65NM
from models.engines.contract import Engine
from models.exits import Floats
from models.inference import Counts, Trace, trace
from training.calibrate import THRESHOLDS, exit_point
from training.data import Split


def evaluated(bundle: Bundle, engine: Engine, test: Split, dataset: str) -> Evaluation:
    """Run every timestep on every test image once, then read all thresholds off the trace.

    That post-hoc selection equals stopping for real is a tested invariant.
    """
    manifest = bundle.manifest
    run = trace(engine, manifest.encoding, test.images)
    entropies = run.entropies(manifest.readout)
    energy = _energies(bundle, run)

    def point(threshold: float) -> tuple[ExitPoint, Counts]:
        result, exits = exit_point(run, entropies, test.labels, threshold)
        mean = float(energy[exits - 1, np.arange(len(exits))].mean())
        return result.model_copy(update={"energy_pj": round(mean, 1)}), exits

    default, exits = point(manifest.exits.default_entropy_threshold)
    neurons = np.array([np.prod(lif.in_shape) for lif in manifest.network.lifs])
    rates = run.spikes.mean(axis=1) / neurons
    return Evaluation(
        dataset=dataset,
        images=len(test),
        engine=engine.name,
        accuracy_by_timestep=tuple(float(x) for x in (run.predictions == test.labels).mean(axis=1)),
        default=default,
        exit_histogram=tuple(int((exits == t).sum()) for t in range(1, manifest.timesteps + 1)),
        table=tuple(point(threshold)[0] for threshold in THRESHOLDS),
        spikes_per_neuron_and_step=tuple(
            tuple(round(float(rate), 5) for rate in row) for row in rates
        ),
    )


def _energies(bundle: Bundle, run: Trace) -> Floats:
    """Energy in pJ of every image had it stopped after timestep t, ``[T, N]``."""
    model = EnergyModel(bundle.manifest, DTSNN_CALIBRATED_65NM)
    timesteps, images = run.logit_sums.shape[:2]
    return np.array(
        [
            [sum(model.components_pj(run.active_pairs[:t, n]).values()) for n in range(images)]
            for t in range(1, timesteps + 1)
        ]
    )
