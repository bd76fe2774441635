"""What the estimate costs beside the inference it is about, in CPU time, taken in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from spikeserve.models.bundle import Bundle
from spikeserve.models.encoding import Pixels
from spikeserve.models.energy.estimate import EnergyModel
from spikeserve.models.energy.hardware import load_profile
from spikeserve.models.energy.report import Reporter
from spikeserve.models.engines.event import EventEngine
from spikeserve.models.inference import Counts, classify

MANY = 10_000


def cost(bundle: Bundle, images: Pixels, repetitions: int) -> dict[str, Any]:
    """Microseconds an image of the fastest engine on one thread, and of estimates; ratios.

    Ratios are taken within each repetition, since the speed of a machine drifts.
    """
    manifest = bundle.manifest
    engine, policy = EventEngine(bundle.program, 1), manifest.policy()
    model = EnergyModel(manifest, load_profile())
    reporter = Reporter(model)
    rows = classify(engine, manifest, images, [policy] * len(images))
    first = np.stack([row.active_pairs[0] for row in rows])  # [N, L]
    pairs: Counts = np.tile(first, (manifest.timesteps, MANY // len(rows), 1))
    timesteps: Counts = 1 + np.arange(pairs.shape[1]) % manifest.timesteps

    def inference(batch: int) -> float:
        def run() -> None:
            for start in range(0, len(images), batch):
                chunk = images[start : start + batch]
                classify(engine, manifest, chunk, [policy] * len(chunk))

        return _seconds(run) / len(images)

    def estimate() -> float:
        return _seconds(lambda: [model.estimate(row.active_pairs) for row in rows]) / len(rows)

    def report() -> float:
        return _seconds(lambda: [reporter.report(row.active_pairs) for row in rows]) / len(rows)

    def vectorised() -> float:
        return _seconds(lambda: model.estimates(pairs, timesteps)) / len(timesteps)

    turns = [
        {
            "inference, batch 1": inference(1),
            "inference, batch 16": inference(16),
            "estimate": estimate(),
            "report (energy=full)": report(),
            "estimate, many rows at once": vectorised(),
        }
        for _ in range(repetitions + 1)
    ][1:]  # the first warms up
    return {
        "repetitions": repetitions,
        "images": len(images),
        "us": {name: _median(turn[name] * 1e6 for turn in turns) for name in turns[0]},
        "share_of_inference": {
            batch: _spread([turn["estimate"] / turn[batch] for turn in turns])
            for batch in ("inference, batch 1", "inference, batch 16")
        },
        "estimates_a_second": round(1 / statistics.median(t["estimate"] for t in turns)),
        "vectorised_estimates_a_second": round(
            1 / statistics.median(t["estimate, many rows at once"] for t in turns)
        ),
    }


def cost_table(result: dict[str, Any]) -> list[str]:
    """Markdown."""
    lines = [
        f"Medians of {result['repetitions']} repetitions over {result['images']} images, CPU "
        "time on one thread.",
        "",
        "| | microseconds an image |",
        "|---|---|",
        *(f"| {name} | {value:.2f} |" for name, value in result["us"].items()),
        "",
    ]
    for batch, share in result["share_of_inference"].items():
        lines.append(
            f"- The estimate is {share['median']:.2%} of the {batch} "
            f"({share['low']:.2%}…{share['high']:.2%})."
        )
    lines.append(
        f"- {result['estimates_a_second']:,} estimates a second one by one, "
        f"{result['vectorised_estimates_a_second']:,} over many rows at once."
    )
    return lines


def _seconds(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def _median(values: Iterable[float]) -> float:
    return round(statistics.median(values), 4)


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 6),
        "low": round(min(values), 6),
        "high": round(max(values), 6),
    }
