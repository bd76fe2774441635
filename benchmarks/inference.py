"""Early exit against running all T: the same engine, images and process, batch 1.

    python -m benchmarks.inference [--images 300] [--repetitions 30] [--threads 1]

Every repetition runs all images both ways, alternating, so that a drifting machine hits both.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.bundle import Bundle, Manifest, load_bundle
from models.encoding import Pixels
from models.engines.contract import Engine
from models.engines.selection import build_engine
from models.exits import ExitPolicy
from models.inference import Row, classify
from service.settings import DEFAULT_BUNDLE
from training.data import cifar10_test


def one_by_one(
    engine: Engine, manifest: Manifest, images: Pixels, policy: ExitPolicy
) -> tuple[float, list[Row]]:
    """Mean milliseconds an image, alone in its batch, and the finished rows."""
    started = time.perf_counter()
    rows = [classify(engine, manifest, image[None], [policy])[0] for image in images]
    return (time.perf_counter() - started) * 1000 / len(images), rows


def measure(
    bundle: Bundle, engine: Engine, images: Pixels, repetitions: int
) -> dict[str, float | int | str]:
    manifest = bundle.manifest
    static, default = manifest.policy(entropy_threshold=0.0), manifest.policy()
    one_by_one(engine, manifest, images[:20], static)  # warm-up
    times: dict[str, list[float]] = {"static": [], "early exit": []}
    used: list[int] = []
    for _ in range(repetitions):
        times["static"].append(one_by_one(engine, manifest, images, static)[0])
        milliseconds, rows = one_by_one(engine, manifest, images, default)
        times["early exit"].append(milliseconds)
        used = [row.t for row in rows]
    ratios = [a / b for a, b in zip(times["static"], times["early exit"], strict=True)]
    return {
        "bundle": manifest.name,
        "engine": engine.name,
        "machine": platform.processor() or platform.machine(),
        "images": len(images),
        "repetitions": repetitions,
        "static_ms": round(statistics.median(times["static"]), 3),
        "early_exit_ms": round(statistics.median(times["early exit"]), 3),
        "average_timesteps": round(float(np.mean(used)), 3),
        "speedup_median": round(statistics.median(ratios), 3),
        "speedup_min": round(min(ratios), 3),
        "speedup_max": round(max(ratios), 3),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    bundle = load_bundle(options.bundle)
    engine = build_engine(bundle, "auto", options.threads)
    images = cifar10_test(options.data).images[: options.images]
    print(json.dumps(measure(bundle, engine, images, options.repetitions), indent=1))


if __name__ == "__main__":
    main()
