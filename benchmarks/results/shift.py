"""Does the network take longer where it is unsure? Corrupted, ambiguous and foreign images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.results.corruptions import CORRUPTIONS, SEVERITIES, Pixels
from spikeserve.models.bundle import Bundle
from spikeserve.models.engines.contract import Engine
from spikeserve.models.exits import select_exits
from spikeserve.models.inference import trace
from spikeserve.training.data import DATASETS, Split

IMAGES = 2000
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
"""How much of a second image is mixed into the first."""
SHAPE = (32, 32, 3)


@dataclass(frozen=True)
class Met:
    """What images of one kind met: how long they took, how sure the answers were."""

    images: int
    average_timesteps: float
    static_entropy: float
    accuracy: float | None = None
    static_accuracy: float | None = None


class Shift:
    """One bundle under inputs that drift away from its training set."""

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        self.manifest = bundle.manifest
        if self.manifest.network.input_shape != SHAPE:
            raise ValueError(f"{self.manifest.name}: only {SHAPE} images are corrupted")
        self.engine = engine

    def met(self, images: Pixels, labels: NDArray[np.uint8] | None = None) -> Met:
        run = trace(self.engine, self.manifest.encoding, images)
        entropies = run.entropies(self.manifest.readout)
        steps = select_exits(entropies, self.manifest.policy())
        unsure = float(entropies[-1].mean())
        if labels is None:
            return Met(len(images), float(steps.mean()), unsure)
        predicted = run.predictions
        early = predicted[steps - 1, np.arange(len(steps))] == labels
        static = predicted[-1] == labels
        return Met(
            len(images), float(steps.mean()), unsure, float(early.mean()), float(static.mean())
        )

    def corrupted(self, test: Split) -> dict[str, list[Met]]:
        """By corruption, severities 0 (none) to 5."""
        images, labels = test.images[:IMAGES], test.labels[:IMAGES]
        clean = self.met(images, labels)
        return {
            name: [clean, *(self.met(corrupt(images, k), labels) for k in SEVERITIES)]
            for name, corrupt in CORRUPTIONS.items()
        }

    def ambiguous(self, test: Split) -> list[Met]:
        """Two images of different classes mixed; right is the class of the larger share."""
        images, labels = test.images[:IMAGES], test.labels[:IMAGES]
        partner = np.arange(IMAGES)
        rng = np.random.default_rng(0)
        while (same := labels[partner] == labels).any():
            partner[same] = rng.integers(0, IMAGES, int(same.sum()))
        first, second = images.astype(float), images[partner].astype(float)
        return [
            self.met(((1 - share) * first + share * second).astype(np.uint8), labels)
            for share in SHARES
        ]

    def foreign(self, test: Split, data: Path) -> dict[str, Met]:
        """Images of no class that the network knows."""
        rng = np.random.default_rng(1)
        pixels = test.images[:IMAGES].reshape(IMAGES, -1, SHAPE[2])
        order = rng.permuted(np.tile(np.arange(pixels.shape[1]), (IMAGES, 1)), axis=1)
        permuted = np.take_along_axis(pixels, order[..., None], axis=1).reshape(IMAGES, *SHAPE)
        kinds = {
            "the test set": test.images[:IMAGES],
            "its pixels shuffled": permuted,
            "uniform noise": rng.integers(0, 256, (IMAGES, *SHAPE), np.uint8),
            "one colour": np.broadcast_to(
                rng.integers(0, 256, (IMAGES, 1, 1, SHAPE[2]), np.uint8), (IMAGES, *SHAPE)
            ),
        }
        for dataset in DATASETS.values():
            if dataset.title != self.manifest.provenance.dataset:
                kinds[f"{dataset.title} test set"] = as_cifar(dataset.test(data).images[:IMAGES])
        return {name: self.met(np.ascontiguousarray(images)) for name, images in kinds.items()}


def as_cifar(images: Pixels) -> Pixels:
    """Images ``[N, H, W, C]`` in the middle of black 32 x 32 RGB frames."""
    height, width, channels = images.shape[1:]
    top, left = (SHAPE[0] - height) // 2, (SHAPE[1] - width) // 2
    framed = np.zeros((len(images), *SHAPE), np.uint8)
    framed[:, top : top + height, left : left + width] = (
        images if channels == SHAPE[2] else np.repeat(images, SHAPE[2], axis=3)
    )
    return framed


def measured(bundle: Bundle, engine: Engine, test: Split, data: Path) -> dict[str, Any]:
    """All of it, as JSON holds it."""
    shift = Shift(bundle, engine)
    return {
        "images": IMAGES,
        "shares": SHARES,
        "corrupted": {
            name: [asdict(met) for met in row] for name, row in shift.corrupted(test).items()
        },
        "ambiguous": [asdict(met) for met in shift.ambiguous(test)],
        "foreign": {name: asdict(met) for name, met in shift.foreign(test, data).items()},
    }
