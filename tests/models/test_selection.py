"""Which engine runs, and what becomes of one that cannot."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeserve.models.bundle import Bundle
from spikeserve.models.encoding import Encoding
from spikeserve.models.engines.contract import Step
from spikeserve.models.engines.event import EventEngine
from spikeserve.models.engines.selection import build_engine
from spikeserve.models.errors import EngineUnavailable
from tests.programs import TIMESTEPS


def test_auto_is_the_event_engine(bundle: Bundle) -> None:
    assert build_engine(bundle).name == "event"


@pytest.mark.parametrize(
    ("kind", "timesteps", "kept"), [("direct", 8, True), ("direct", 4, False), ("hybrid", 8, False)]
)
def test_long_direct_coding_keeps_the_first_currents(
    bundle: Bundle, kind: Literal["direct", "hybrid"], timesteps: int, kept: bool
) -> None:
    manifest = bundle.manifest.model_copy(update={"encoding": Encoding(kind, timesteps)})
    engine = build_engine(dataclasses.replace(bundle, manifest=manifest), "event")
    frames = np.zeros((1, *engine.network.input_shape), np.uint8)
    ((memory,),) = engine.step(frames, engine.start(1)).state.arrays
    assert (memory.kept is not None) == kept


def test_without_numba_auto_says_so_and_event_is_refused(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "spikeserve.models.engines.event", None)
    with pytest.raises(EngineUnavailable, match="pip install numba"):
        build_engine(bundle, "event")
    assert build_engine(bundle, "auto").name == "onnx"
    assert "numba" in caplog.text


def test_a_kernel_that_computes_wrongly_is_refused(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Wrong(EventEngine):
        def step(self, frames: NDArray[np.uint8], state: Any) -> Step:
            step = super().step(frames, state)
            step.active_pairs[-1, 0] += 1
            return step

    monkeypatch.setattr("spikeserve.models.engines.event.EventEngine", Wrong)
    with pytest.raises(EngineUnavailable, match="active_pairs"):
        build_engine(bundle, "event")
    assert build_engine(bundle, "auto").name == "onnx"
    assert "disagrees with the reference" in caplog.text


@pytest.mark.parametrize(
    ("macs", "images", "timesteps"),
    [(1, 1, 1), (3 * 2, 3, 2), (5, 1, TIMESTEPS), (1 << 10, 3, TIMESTEPS)],
)
def test_large_networks_are_checked_over_less(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    macs: int, images: int, timesteps: int,
) -> None:  # fmt: skip
    """What there is time for, in timesteps of an image; the log says so."""
    seen = []

    class Counting(EventEngine):
        def step(self, frames: NDArray[np.uint8], state: Any) -> Step:
            seen.append(len(frames))
            return super().step(frames, state)

    monkeypatch.setattr("spikeserve.models.engines.event.EventEngine", Counting)
    monkeypatch.setattr(
        "spikeserve.models.engines.selection.CHECKED_MACS", macs * bundle.manifest.network.macs
    )
    caplog.set_level("INFO", "spikeserve")
    build_engine(bundle, "event")
    assert seen == [images] * timesteps
    assert ("is large" in caplog.text) == ((images, timesteps) != (3, TIMESTEPS))


def test_whatever_fails_in_building_auto_falls_back(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full() -> None:
        raise MemoryError

    monkeypatch.setattr("spikeserve.models.engines.event.step_kernel", full)
    assert build_engine(bundle, "auto").name == "onnx"
    assert "MemoryError" in caplog.text


def test_threads_below_zero_are_refused(bundle: Bundle) -> None:
    with pytest.raises(EngineUnavailable, match="threads"):
        build_engine(bundle, "reference", -1)
