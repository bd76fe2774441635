"""What one request costs inside: the engine for one image, our metrics for one answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np

from benchmarks.contenders import Pixels
from benchmarks.outcomes import Document
from benchmarks.servers.processes import on_cores
from spikeserve.models.bundle import Bundle
from spikeserve.models.energy.estimate import EnergyModel
from spikeserve.models.energy.hardware import load_profile
from spikeserve.models.engines.selection import EngineChoice, build_engine
from spikeserve.models.inference import classify
from spikeserve.service.jobs import Job
from spikeserve.service.metrics import Metrics
from spikeserve.service.scheduler import Scheduler

BATCHES = (1, 16)
REPETITIONS = 3
WARM_S = 0.4  # a fresh engine takes twice as long: a ceiling from that would be none
WARM_IMAGES = 64
CALLS = 5000
SLOTS = 16


def engine_turn(
    bundle: Bundle, engine: EngineChoice, images: Pixels, cores: set[int]
) -> Callable[[], Document]:
    """Measures the CPU milliseconds an image takes on one thread with early exit, by batch."""
    built = build_engine(bundle, engine, 1)
    policy = bundle.manifest.policy()

    def spent(batch: int, some: Pixels) -> float:
        began = time.process_time()
        for start in range(0, len(some), batch):
            pixels = some[start : start + batch]
            classify(built, bundle.manifest, pixels, [policy] * len(pixels))
        return (time.process_time() - began) * 1000 / len(some)

    def turn() -> Document:
        with on_cores(cores):
            began = time.process_time()
            while time.process_time() - began < WARM_S:
                spent(BATCHES[-1], images[:WARM_IMAGES])
            return {f"batch {batch}": round(spent(batch, images), 4) for batch in BATCHES}

    return turn


def metrics_us(bundle: Bundle, image: Pixels) -> dict[str, float]:
    """CPU microseconds of what is counted once an answer, and of what is counted once a tick."""
    scheduler = Scheduler(SLOTS, 512)
    metrics = Metrics()
    model = metrics.for_model(bundle.manifest, "event", scheduler)
    engine = build_engine(bundle, "event", 1)
    (row,) = classify(engine, bundle.manifest, image[None], [bundle.manifest.policy()])
    job = Job(row, Future(), submitted=1.0, started=1.001, finished=1.002)
    job.energy = EnergyModel(bundle.manifest, load_profile()).estimate(np.stack(row.active_pairs))

    def answer() -> None:
        model.decode_duration.observe(0.0002)
        model.finished([job])
        metrics.answered(bundle.manifest.name, "/classify", "200", 0.002)

    return {
        "answer": _microseconds(answer),
        "tick": _microseconds(lambda: model.stepped(SLOTS, SLOTS, 0.002)),
    }


def _microseconds(call: Callable[[], None]) -> float:
    def spent() -> float:
        began = time.process_time()
        for _ in range(CALLS):
            call()
        return (time.process_time() - began) * 1e6 / CALLS

    return round(min(spent() for _ in range(REPETITIONS)), 2)
