"""What every peer server shares: the bundle on an engine, pictures in, answers out."""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from spikeserve.models.bundle import load_bundle
from spikeserve.models.encoding import Pixels
from spikeserve.models.engines.selection import EngineChoice, build_engine
from spikeserve.models.exits import ExitPolicy
from spikeserve.models.inference import Row, advance, classify
from spikeserve.service.settings import DEFAULT_BUNDLE

Document = dict[str, Any]


class Model:
    """The default bundle on one engine."""

    def __init__(self, engine: EngineChoice, threads: int) -> None:
        bundle = load_bundle(DEFAULT_BUNDLE)
        self.manifest = bundle.manifest
        self.engine = build_engine(bundle, engine, threads)

    def policy(self, threshold: float | None) -> ExitPolicy:
        return self.manifest.policy(entropy_threshold=threshold)

    def shrinking(self, images: Sequence[Pixels], policies: Sequence[ExitPolicy]) -> list[Document]:
        """A batch that rows leave when they stop; all are answered together."""
        rows = classify(self.engine, self.manifest, np.stack(images), policies)
        return [document(row) for row in rows]

    def whole(self, images: Sequence[Pixels], policies: Sequence[ExitPolicy]) -> list[Document]:
        """A batch that is stepped as it is until its last row stops."""
        rows = [Row(image, policy) for image, policy in zip(images, policies, strict=True)]
        answers: list[Document | None] = [None] * len(rows)
        state = self.engine.start(len(rows))
        while None in answers:
            state = advance(self.engine, self.manifest.encoding, self.manifest.readout, rows, state)
            for index, row in enumerate(rows):
                if answers[index] is None and row.stop_reason is not None:
                    answers[index] = document(row)
        return [answer for answer in answers if answer is not None]

    def one(self, data: bytes, threshold: float | None) -> Document:
        """One picture alone."""
        (answer,) = self.shrinking([pixels(data)], [self.policy(threshold)])
        return answer


def pixels(data: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def document(row: Row) -> Document:
    assert row.probabilities is not None
    best = int(row.probabilities.argmax())
    return {
        "prediction": {"index": best, "probability": float(row.probabilities[best])},
        "timesteps_used": row.t,
        "entropy": row.entropy,
        "stop_reason": row.stop_reason,
    }


def parser(about: str) -> argparse.ArgumentParser:
    """The flags that peer servers share."""
    made = argparse.ArgumentParser(description=about)
    made.add_argument("--port", type=int, required=True)
    made.add_argument("--engine", choices=("event", "onnx"), default="event")
    made.add_argument("--threads", type=int, default=1)
    return made
