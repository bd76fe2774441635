"""Engines that fail, lie or hang on purpose, and services that run them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI
from fastapi.testclient import TestClient

from spikeserve.models.encoding import Pixels
from spikeserve.models.engines.contract import Engine, State, Step
from spikeserve.service.app import create_app
from spikeserve.service.settings import Settings

UNLUCKY = 13
"""What the first pixel of a row is that makes an engine fail at its first timestep."""


class Faulty:
    """An engine as another one, until it sees something it does not like."""

    name = "faulty"

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.network = engine.network

    def start(self, rows: int) -> State:
        return self._engine.start(rows)

    def step(self, frames: Pixels, state: State) -> Step:
        return self._engine.step(frames, state)


class Raising(Faulty):
    """Raises where an unlucky row is in the batch."""

    def step(self, frames: Pixels, state: State) -> Step:
        if unlucky(frames).any():
            raise RuntimeError("broken on purpose")
        return super().step(frames, state)


class NotANumber(Faulty):
    """Gives NaN for unlucky rows."""

    def step(self, frames: Pixels, state: State) -> Step:
        step = super().step(frames, state)
        logits: Any = step.logits.astype(np.float64)
        logits[unlucky(frames)] = np.nan
        return Step(logits, step.active_pairs, step.spikes, step.state)


class Broken(Faulty):
    """Raises, whatever it sees."""

    def step(self, frames: Pixels, state: State) -> Step:
        raise RuntimeError(f"broken on purpose for {len(frames)} rows, {state.rows} before")


class Stuck(Faulty):
    """Never comes back where an unlucky row is in the batch."""

    def step(self, frames: Pixels, state: State) -> Step:
        if unlucky(frames).any():
            threading.Event().wait()
        return super().step(frames, state)


class Hanging(Faulty):
    """Never comes back from a step, until released."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.entered, self.released = threading.Event(), threading.Event()

    def step(self, frames: Pixels, state: State) -> Step:
        self.entered.set()
        self.released.wait()
        return super().step(frames, state)


def unlucky(frames: Pixels) -> Any:
    return frames[:, 0, 0, 0] == UNLUCKY


@contextmanager
def serving(
    bundle: Path, engine: Callable[[Engine], Faulty], **settings: Any
) -> Iterator[tuple[TestClient, FastAPI, Faulty]]:
    """A service in this process, on a faulty engine that passed the checks at load."""
    app = create_app(Settings(bundles=(bundle,), **settings))
    worker = app.state.registry.get().worker
    worker.engine = faulty = engine(worker.engine)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client, app, faulty
