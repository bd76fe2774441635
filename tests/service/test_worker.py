"""The worker thread: failures hit only the rows in flight, draining loses nothing."""

from __future__ import annotations

import itertools
from asyncio import CancelledError
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeserve.models.bundle import Bundle
from spikeserve.models.energy.estimate import EnergyModel
from spikeserve.models.energy.hardware import load_profile
from spikeserve.models.engines.contract import Engine
from spikeserve.models.engines.fake import FakeEngine
from spikeserve.models.engines.onnx import OnnxEngine
from spikeserve.models.exits import ExitPolicy
from spikeserve.models.inference import Row, classify
from spikeserve.service.errors import InferenceFailed, NotReady
from spikeserve.service.jobs import Job
from spikeserve.service.metrics import Metrics
from spikeserve.service.scheduler import Scheduler
from spikeserve.service.worker import Worker

Images = NDArray[np.uint8]


def failing_once(bundle: Bundle, at: int, error: BaseException) -> FakeEngine:
    """An engine whose step number ``at`` raises."""
    steps = itertools.count(1)

    def fail(*_: object) -> None:
        if next(steps) == at:
            raise error

    return FakeEngine(bundle.manifest.network, before_step=fail)


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> OnnxEngine:
    return OnnxEngine(bundle.program, bundle.graph)


def build(
    bundle: Bundle, engine: Engine, slots: int = 4, energy: EnergyModel | None = None
) -> Worker:
    scheduler = Scheduler(slots, queue_timesteps=1000)
    metrics = Metrics().for_model(bundle.manifest, engine.name, scheduler)
    energy = energy or EnergyModel(bundle.manifest, load_profile())
    return Worker(bundle.manifest, engine, scheduler, metrics, energy)


def submit(worker: Worker, image: Images, policy: ExitPolicy, **options: Any) -> Future[Job]:
    future: Future[Job] = Future()
    worker.submit(Job(Row(image, policy), future, **options))
    return future


@pytest.fixture
def worker(bundle: Bundle, engine: OnnxEngine) -> Iterator[Worker]:
    worker = build(bundle, engine)
    worker.start()
    yield worker
    worker.drain(10)


def policies(count: int) -> list[ExitPolicy]:
    """Mixed thresholds and limits, so that rows leave at different timesteps."""
    rng = np.random.default_rng(5)
    return [
        ExitPolicy(float(rng.uniform(0.9, 1.0)), 1, int(rng.integers(1, 5))) for _ in range(count)
    ]


def test_batched_rows_equal_solo_runs(
    bundle: Bundle, engine: OnnxEngine, worker: Worker, images: Images
) -> None:
    chosen = policies(len(images))
    futures = [submit(worker, image, policy) for image, policy in zip(images, chosen, strict=True)]
    for image, policy, future in zip(images, chosen, futures, strict=True):
        got = future.result(10).row
        (alone,) = classify(engine, bundle.manifest, image[None], [policy])
        assert got.t == alone.t
        assert got.entropies == alone.entropies
        assert got.stop_reason == alone.stop_reason
        assert np.array_equal(np.stack(got.active_pairs), np.stack(alone.active_pairs))


def test_a_failure_that_does_not_come_back_costs_nobody_an_answer(
    bundle: Bundle, images: Images
) -> None:
    worker = build(bundle, failing_once(bundle, 2, RuntimeError()), slots=4)
    futures = [submit(worker, image, ExitPolicy(0.0, 1, 4)) for image in images[:5]]
    worker.start()
    assert [future.result(10).row.t for future in futures] == [4] * 5
    assert worker.healthy
    assert worker.drain(10)


def test_drain_finishes_what_was_admitted_and_refuses_the_rest(
    bundle: Bundle, engine: OnnxEngine, images: Images
) -> None:
    worker = build(bundle, engine)
    futures = [submit(worker, image, ExitPolicy(0.0, 1, 4)) for image in images]
    worker.start()
    assert worker.drain(30)
    assert all(future.done() and future.result().row.t == 4 for future in futures)
    with pytest.raises(NotReady):
        submit(worker, images[0], ExitPolicy(0.0, 1, 4))


def test_cancelled_rows_never_run_or_leave_after_their_step(
    bundle: Bundle, engine: OnnxEngine, images: Images
) -> None:
    worker = build(bundle, engine, slots=1)
    futures: list[Future[Job]] = [Future() for _ in range(6)]
    jobs = [
        Job(Row(image, ExitPolicy(0.0, 1, 4)), future)
        for image, future in zip(images[:6], futures, strict=True)
    ]
    for job in jobs:
        worker.submit(job)
    for job in jobs[::2]:
        worker.cancel(job)
        job.future.cancel()
    worker.start()
    assert all(future.result(10).row.t == 4 for future in futures[1::2])
    assert [job.row.t for job in jobs[::2]] == [0] * 3
    assert worker.drain(10)


def broken(*_: object) -> None:
    raise MemoryError("broken on purpose")


def submit_batch(worker: Worker, images: Images, **options: Any) -> list[Future[Job]]:
    """Rows that share their first timestep and leave after one to four."""
    return [
        submit(worker, image, ExitPolicy(0.0, 1, limit), **options)
        for limit, image in enumerate(images[:4], start=1)
    ]


def timesteps(futures: list[Future[Job]]) -> list[int]:
    return [future.result(10).row.t for future in futures]


@pytest.mark.parametrize("name", ["stepped", "finished"])
def test_metrics_that_fail_cost_nobody_an_answer(
    bundle: Bundle, engine: OnnxEngine, images: Images, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    worker = build(bundle, engine)
    monkeypatch.setattr(worker.metrics, name, broken)
    futures = submit_batch(worker, images)
    worker.start()
    assert timesteps(futures) == [1, 2, 3, 4]
    assert all(future.result().energy is not None for future in futures)
    assert worker.drain(10)


def test_a_listener_that_fails_costs_nobody_an_answer(
    bundle: Bundle, engine: OnnxEngine, images: Images
) -> None:
    worker = build(bundle, engine, slots=5)
    heard: list[int] = []
    patient = submit(
        worker, images[4], ExitPolicy(0.0, 1, 4), listener=lambda step: heard.append(step.t)
    )
    futures = submit_batch(worker, images, listener=broken)
    worker.start()
    assert timesteps([*futures, patient]) == [1, 2, 3, 4, 4]
    assert heard == [1, 2, 3, 4]
    assert worker.drain(10)


def test_an_energy_estimate_that_fails_leaves_the_answer_without_it_and_no_other(
    bundle: Bundle, engine: OnnxEngine, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    energy = EnergyModel(bundle.manifest, load_profile())
    estimate = energy.estimate

    def fails_at_two(pairs: Any) -> Any:
        return broken() if len(pairs) == 2 else estimate(pairs)

    monkeypatch.setattr(energy, "estimate", fails_at_two)
    worker = build(bundle, engine, energy=energy)
    futures = submit_batch(worker, images)
    worker.start()
    assert timesteps(futures) == [1, 2, 3, 4]
    known = [future.result().energy is not None for future in futures]
    assert known == [True, False, True, True]
    assert worker.drain(10)


def test_a_tick_that_fails_outside_its_step_loses_the_running_rows_only(
    bundle: Bundle, engine: OnnxEngine, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = build(bundle, engine, slots=2)
    observe = worker.scheduler.observe

    def fails_once(*_: object) -> None:
        monkeypatch.setattr(worker.scheduler, "observe", observe)
        broken()

    monkeypatch.setattr(worker.scheduler, "observe", fails_once)
    futures = [submit(worker, image, ExitPolicy(0.0, 1, 4)) for image in images[:5]]
    worker.start()
    lost, kept = futures[:2], futures[2:]
    assert all(isinstance(future.exception(10), InferenceFailed) for future in lost)
    assert timesteps(kept) == [4] * 3
    assert worker.drain(10)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dying_worker_leaves_nobody_waiting(bundle: Bundle, images: Images) -> None:
    worker = build(bundle, failing_once(bundle, 2, GeneratorExit()), slots=2)
    futures = [submit(worker, image, ExitPolicy(0.0, 1, 4)) for image in images[:5]]
    worker.start()
    assert all(isinstance(future.exception(10), NotReady) for future in futures)
    assert worker.drain(10)
    assert not worker.healthy
    with pytest.raises(NotReady):
        submit(worker, images[0], ExitPolicy(0.0, 1, 4))


def test_a_cancelled_listener_costs_nobody_an_answer(
    bundle: Bundle, engine: OnnxEngine, images: Images
) -> None:
    def cancelled(_: object) -> None:
        raise CancelledError

    worker = build(bundle, engine, slots=5)
    futures = submit_batch(worker, images, listener=cancelled)
    worker.start()
    assert timesteps(futures) == [1, 2, 3, 4]
    assert worker.drain(10)


def test_one_future_that_cannot_be_resolved_costs_no_other_its_answer(
    bundle: Bundle, engine: OnnxEngine, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = build(bundle, engine)
    futures = submit_batch(worker, images)
    monkeypatch.setattr(futures[0], "set_result", broken)
    worker.start()
    assert timesteps(futures[1:]) == [2, 3, 4]
    assert worker.drain(10)
