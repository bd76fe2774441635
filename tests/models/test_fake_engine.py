"""The scripted engine keeps the engines' contract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from spikeserve.models.bundle import Bundle
from spikeserve.models.encoding import Pixels
from spikeserve.models.engines.contract import Engine, State
from spikeserve.models.engines.fake import FakeEngine
from spikeserve.models.engines.selection import EngineChoice
from spikeserve.service.app import create_app
from spikeserve.service.settings import Settings


def frames(bundle: Bundle, rows: int) -> Pixels:
    return np.zeros((rows, *bundle.manifest.network.input_shape), np.uint8)


def test_rows_follow_the_script_wherever_they_are(bundle: Bundle) -> None:
    network = bundle.manifest.network
    script = np.arange(2 * network.classes).reshape(2, -1)
    engine: Engine = FakeEngine(network, script)
    first = engine.step(frames(bundle, 2), engine.start(2))
    assert np.array_equal(first.logits, script[[0, 0]])
    mixed = State.join([engine.start(1), first.state.take([1])])
    second = engine.step(frames(bundle, 2), mixed)
    assert np.array_equal(second.logits, script)
    third = engine.step(frames(bundle, 2), second.state)
    assert np.array_equal(third.logits, script[[1, 1]]), "the last row is repeated"
    assert np.array_equal(engine.step(frames(bundle, 2), mixed).logits, second.logits)
    assert third.logits.dtype == np.int32
    assert third.active_pairs.dtype == np.int64
    assert third.active_pairs.shape == (2, len(network.synaptic))
    assert third.spikes.shape == (2, len(network.lifs))


def test_what_is_called_before_a_step_sees_it_and_may_refuse_it(bundle: Bundle) -> None:
    def refuse(seen: Pixels, state: State) -> None:
        raise RuntimeError(f"{len(seen)} frames, {state.rows} rows")

    engine = FakeEngine(bundle.manifest.network, before_step=refuse)
    with pytest.raises(RuntimeError, match="3 frames, 3 rows"):
        engine.step(frames(bundle, 3), engine.start(3))


@pytest.mark.parametrize("logits", [[], [[1, 2]], [0] * 10, [[0.5] * 10]])
def test_a_script_that_does_not_fit_is_refused(bundle: Bundle, logits: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="logits must be"):
        FakeEngine(bundle.manifest.network, logits)


@pytest.mark.parametrize("engine", ["event", "onnx", "reference"])
def test_a_service_takes_it_whatever_engine_it_was_loaded_with(
    bundle_folder: Path, png: bytes, engine: EngineChoice
) -> None:
    app = create_app(Settings(bundles=(bundle_folder,), slots=4, engine=engine))
    with TestClient(app) as client:
        worker = app.state.registry.get().worker
        sure = [0] * worker.engine.network.classes
        sure[1] = 1_000_000
        worker.engine = FakeEngine(worker.engine.network, [sure])
        answers = [client.post("/classify", content=png).json() for _ in range(2)]
    assert [answer["prediction"]["index"] for answer in answers] == [1, 1]


def test_logits_beyond_int32_are_refused(bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="int32"):
        FakeEngine(bundle.manifest.network, [[2**40] * bundle.manifest.network.classes])
