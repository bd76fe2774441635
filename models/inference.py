"""Rows through an engine, timestep by timestep: the plain way, and what the scheduler repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spikeserve.models.encoding import Encoding, Pixels
from spikeserve.models.engines.contract import Engine, State
from spikeserve.models.exits import (
    ExitPolicy,
    Floats,
    Readout,
    StopReason,
    Sums,
    logit_sums,
)
from spikeserve.models.manifest import Manifest

Counts = NDArray[np.int64]


@dataclass
class Row:
    """One image on its way: how far it has come and what it has shown."""

    image: Pixels  # [H, W, C], or a recording [T, H, W, C]
    policy: ExitPolicy
    t: int = 0
    logit_sum: Sums | None = None  # [K]
    probabilities: Floats | None = None  # [K]
    entropies: list[float] = field(default_factory=list)
    active_pairs: list[Counts] = field(default_factory=list)  # t times [L]
    spikes: list[Counts] = field(default_factory=list)  # t times [LIF layers]
    stop_reason: StopReason | None = None

    @property
    def entropy(self) -> float:
        """Normalised entropy after the newest timestep."""
        return self.entropies[-1]


def advance(
    engine: Engine, encoding: Encoding, readout: Readout, rows: Sequence[Row], state: State
) -> State:
    """One timestep for every row, at whatever t it is; sets ``stop_reason`` where a row is done.

    Raises:
        FloatingPointError: the engine's logits are not finite.
        ValueError: it answered for another number of rows. Whatever is raised, no row has
            changed and ``state`` is as it was, so that the step can be tried again.
    """
    t = [row.t + 1 for row in rows]
    step = engine.step(encoding.frames([row.image for row in rows], t), state)
    if not np.isfinite(step.logits).all():  # an engine that breaks its contract
        raise FloatingPointError(f"the {engine.name} engine's logits are not finite")
    if {len(step.logits), len(step.active_pairs), len(step.spikes)} != {len(rows)}:
        raise ValueError(f"the {engine.name} engine answered for another number of rows")
    sums = readout.summed(step.logits, [row.logit_sum for row in rows])
    probabilities = readout.probabilities(sums, np.array(t))
    entropies = readout.entropies(sums, np.array(t)).tolist()
    results = zip(sums, probabilities, entropies, step.active_pairs, step.spikes, strict=True)
    for row, (logit_sum, probability, entropy, pairs, spikes) in zip(rows, results, strict=True):
        row.t += 1
        row.logit_sum = logit_sum
        row.probabilities = probability
        row.entropies.append(entropy)
        row.active_pairs.append(pairs)
        row.spikes.append(spikes)
        row.stop_reason = row.policy.decide(row.t, entropy)
    return step.state


def classify(
    engine: Engine, manifest: Manifest, images: Pixels, policies: Sequence[ExitPolicy]
) -> list[Row]:
    """Every image of ``images [N, H, W, C]`` until its own policy stops it."""
    rows = [Row(image, policy) for image, policy in zip(images, policies, strict=True)]
    live, state = list(rows), engine.start(len(rows))
    readout = manifest.readout
    while live:
        state = advance(engine, manifest.encoding, readout, live, state)
        keep = [index for index, row in enumerate(live) if row.stop_reason is None]
        if len(keep) < len(live):
            live, state = [live[index] for index in keep], state.take(keep)
    return rows


@dataclass(frozen=True)
class Trace:
    """A full run without exits: what post-hoc evaluation and calibration look at."""

    logit_sums: Sums  # [T, N, K], accumulated
    active_pairs: Counts  # [T, N, L]
    spikes: Counts  # [T, N, LIF layers]

    def entropies(self, readout: Readout) -> Floats:
        """Normalised entropy after every timestep, ``[T, N]``."""
        return np.stack(
            [
                readout.entropies(sums, np.full(len(sums), t))
                for t, sums in enumerate(self.logit_sums, start=1)
            ]
        )

    @property
    def predictions(self) -> Counts:
        """The class after every timestep, ``[T, N]``."""
        result: Counts = self.logit_sums.argmax(axis=2)
        return result


def trace(
    engine: Engine,
    encoding: Encoding,
    images: Pixels,
    batch: int = 64,
    leak: float | None = None,
) -> Trace:
    """Run all T timesteps on ``images [N, H, W, C]`` or recordings, ``batch`` rows at a time.

    Args:
        leak: the readout's.
    """
    chunks = []
    for start in range(0, len(images), batch):
        chunk = images[start : start + batch]
        state, steps = engine.start(len(chunk)), []
        for t in range(1, encoding.timesteps + 1):
            steps.append(engine.step(encoding.frame(chunk, t), state))
            state = steps[-1].state
        chunks.append(
            Trace(
                logit_sums(np.stack([step.logits for step in steps]), leak),
                np.stack([step.active_pairs for step in steps]),
                np.stack([step.spikes for step in steps]),
            )
        )
    return Trace(
        np.concatenate([chunk.logit_sums for chunk in chunks], axis=1),
        np.concatenate([chunk.active_pairs for chunk in chunks], axis=1),
        np.concatenate([chunk.spikes for chunk in chunks], axis=1),
    )
