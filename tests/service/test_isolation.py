"""Steps that fail: which rows are blamed, and when the engine is."""

from __future__ import annotations

from concurrent.futures import Future

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeserve.models.bundle import Bundle
from spikeserve.models.engines.contract import Engine
from spikeserve.models.engines.onnx import OnnxEngine
from spikeserve.models.exits import ExitPolicy
from spikeserve.models.inference import Row, classify
from spikeserve.service.isolation import FAILURES_UNTIL_BROKEN, IsolatingStepper
from spikeserve.service.jobs import Job
from tests.load.engines import UNLUCKY, Broken, Raising

Images = NDArray[np.uint8]
POLICY = ExitPolicy(0.0, 1, 1)


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> OnnxEngine:
    return OnnxEngine(bundle.program, bundle.graph)


def jobs(images: Images, unlucky: set[int]) -> list[Job]:
    images = images.copy()
    images[:, 0, 0, 0] = [UNLUCKY + (number not in unlucky) for number in range(len(images))]
    return [Job(Row(image, POLICY), Future()) for image in images]


@pytest.mark.parametrize("unlucky", [set(), {0}, {6}, {2, 3}, {0, 1, 2, 3, 4, 5, 6}])
def test_rows_at_fault_are_found_and_the_others_are_exact(
    bundle: Bundle, engine: OnnxEngine, images: Images, unlucky: set[int]
) -> None:
    stepper, batch = IsolatingStepper(bundle.manifest), jobs(images[:7], unlucky)
    state = stepper.step(Raising(engine), batch, engine.start(7))
    assert state.rows == 7
    assert {number for number, job in enumerate(batch) if job.error} == unlucky
    assert not stepper.broken
    for number, job in enumerate(batch):
        if number not in unlucky:
            (alone,) = classify(engine, bundle.manifest, job.row.image[None], [POLICY])
            assert job.row.entropies == alone.entropies


def test_an_engine_is_broken_once_it_fails_on_our_own_image_again_and_again(
    bundle: Bundle, engine: OnnxEngine, images: Images
) -> None:
    stepper = IsolatingStepper(bundle.manifest)

    def step(engine: Engine, unlucky: set[int]) -> None:
        stepper.step(engine, jobs(images[:2], unlucky), engine.start(2))

    for _ in range(FAILURES_UNTIL_BROKEN):
        assert not stepper.broken
        step(Broken(engine), set())
    assert stepper.broken
    step(Raising(engine), {0, 1})
    assert not stepper.broken, "the rows were at fault, the engine works"
