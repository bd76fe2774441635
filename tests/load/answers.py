"""What is asked under load, and what every answer must satisfy: its own solo run, and the rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from spikeserve.models.bundle import load_bundle
from spikeserve.models.encoding import Pixels
from spikeserve.models.energy.estimate import EnergyModel
from spikeserve.models.energy.hardware import load_profile
from spikeserve.models.engines.onnx import OnnxEngine
from spikeserve.models.exits import ExitPolicy
from spikeserve.models.inference import Row, classify
from tests.conftest import encoded
from tests.load.clients import Response, post

RULES = ("entropy", "max_timesteps", "deadline")
SOLO_BATCH = 64


@dataclass(frozen=True)
class Ask:
    """One request."""

    image: Pixels
    policy: ExitPolicy
    deadline_ms: float | None = None
    on_deadline: Literal["best", "error"] = "best"

    @cached_property
    def query(self) -> str:
        policy = self.policy
        query = (
            f"?top_k=10&entropy_threshold={policy.entropy_threshold!r}"
            f"&min_timesteps={policy.min_timesteps}&max_timesteps={policy.max_timesteps}"
        )
        if self.deadline_ms is not None:
            query += f"&deadline_ms={self.deadline_ms!r}&on_deadline={self.on_deadline}"
        return query

    @cached_property
    def request(self) -> bytes:
        return post(encoded(self.image), self.query)


class World:
    """A bundle, images for it, and its engine alone as the judge of what a service answers."""

    def __init__(self, folder: Path, images: Pixels) -> None:
        bundle = load_bundle(folder)
        self.folder = folder
        self.images = images
        self.manifest = bundle.manifest
        self._engine = OnnxEngine(bundle.program, bundle.graph)
        self._energy = EnergyModel(bundle.manifest, load_profile())

    def asks(self, count: int, seed: int = 0) -> list[Ask]:
        """Unique images with mixed thresholds and limits."""
        rng = np.random.default_rng(seed)
        timesteps = self.manifest.timesteps
        asks = []
        for image in self.images[rng.choice(len(self.images), count, replace=False)]:
            low, high = sorted(rng.integers(1, timesteps + 1, 2).tolist())
            threshold = rng.choice([0.0, 1.0, rng.uniform(0, 0.9), rng.uniform(0.9, 1)])
            asks.append(Ask(image, ExitPolicy(float(threshold), low, high)))
        return asks

    def alone(self, asks: Sequence[Ask]) -> list[Row]:
        """What each ask gives without a service."""
        rows: list[Row] = []
        for start in range(0, len(asks), SOLO_BATCH):
            some = asks[start : start + SOLO_BATCH]
            images = np.stack([ask.image for ask in some])
            rows += classify(self._engine, self.manifest, images, [ask.policy for ask in some])
        return rows

    def assert_same(self, response: Response, ask: Ask, row: Row) -> None:
        """The answer is, bit for bit, the solo run's."""
        assert response.status == 200, response.body
        answer = response.json()
        assert_rules(answer, ask)
        assert row.probabilities is not None
        ranked = sorted(answer["top_k"], key=lambda item: item["index"])
        assert [item["probability"] for item in ranked] == row.probabilities.tolist()
        assert answer["prediction"]["index"] == int(row.probabilities.argmax())
        assert answer["entropy"] == row.entropy
        assert answer["timesteps_used"] == row.t
        assert answer["stop_reason"] == row.stop_reason
        energy = self._energy.estimate(np.stack(row.active_pairs))
        assert answer["energy"]["total_pj"] == energy.total_pj


def assert_rules(answer: dict[str, Any], ask: Ask) -> None:
    """The row stopped because it was sure, at its limit or at its own deadline: nothing else."""
    policy, used, reason = ask.policy, answer["timesteps_used"], answer["stop_reason"]
    assert reason in RULES
    assert answer["entropy_threshold"] == policy.entropy_threshold
    assert answer["max_timesteps"] == policy.max_timesteps
    assert 1 <= used <= policy.max_timesteps
    sure = answer["entropy"] < policy.entropy_threshold and used >= policy.min_timesteps
    assert sure == (reason == "entropy")
    if reason == "max_timesteps":
        assert used == policy.max_timesteps
    if reason == "deadline":
        assert ask.on_deadline == "best"
        assert ask.deadline_ms is not None
        assert answer["timing_ms"]["total"] >= ask.deadline_ms
