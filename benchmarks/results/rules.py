"""Exit rules at equal accuracy: thresholds from held-out images, outcomes on the test set.

Every rule may lose as much accuracy on the held-out images as the bundle's default may, against the
best fixed number of timesteps. DT-SNN's own rule is the entropy of uncalibrated probabilities
against one threshold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.results.exit_rules import (
    Bools,
    Score,
    exits,
    global_threshold,
    oracle,
    outcome,
    scores,
    timestep_thresholds,
)
from spikeserve.models.bundle import Bundle
from spikeserve.models.exits import Floats, Readout
from spikeserve.models.inference import Trace
from spikeserve.training.calibrate import best_fixed
from spikeserve.training.data import Split

TOLERANCES = (0.0, 0.001, 0.002, 0.005)
KINDS: tuple[Score, ...] = ("entropy", "confidence", "margin")
Choice = Callable[[Floats, Bools, float], Floats]
CHOICES: tuple[tuple[str, Choice], ...] = (
    ("one threshold", global_threshold),
    ("a threshold a timestep", timestep_thresholds),
)
Rule = tuple[str, Readout, Score, Choice]


def compared(
    bundle: Bundle, calibration: Trace, held_out: Split, run: Trace, test: Split
) -> dict[str, Any]:
    """By rule and tolerance: thresholds, and accuracy and steps on both sets of images."""
    manifest = bundle.manifest
    right, test_right = calibration.predictions == held_out.labels, run.predictions == test.labels
    plain = Readout(manifest.logit_scale, (1.0,) * manifest.timesteps)
    calm = Readout(manifest.logit_scale, manifest.exits.temperatures)
    rules: list[Rule] = [("DT-SNN: entropy, no temperatures", plain, "entropy", global_threshold)]
    for count, choose in CHOICES:
        rules += [(f"{kind}, {count}", calm, kind, choose) for kind in KINDS]
        if manifest.exits.sharpness != 1:
            rules.append((f"sharpened entropy, {count}", manifest.readout, "entropy", choose))
    table = []
    for name, readout, kind, choose in rules:
        held, shown = scores(calibration, readout, kind), scores(run, readout, kind)
        for tolerance in TOLERANCES:
            thresholds = choose(held, right, best_fixed(right) - tolerance)
            table.append(
                {
                    "rule": name,
                    "tolerance": tolerance,
                    "thresholds": np.round(thresholds, 6).tolist(),
                    "held_out": asdict(outcome(right, exits(held, thresholds))),
                    "test": asdict(outcome(test_right, exits(shown, thresholds))),
                }
            )
    return {
        "table": table,
        "oracle": oracle(test_right),
        "static_accuracy": float(test_right[-1].mean()),
        "images": len(test),
        "calibration_images": len(held_out),
    }
