"""The scheduling policy on its own: bounded, first come first served, no lost row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.exits import ExitPolicy
from models.inference import Row
from service.errors import QueueFull
from service.scheduler import Job, Scheduler


def job(need: int = 1) -> Job:
    return Job(Row(np.zeros((1, 1, 1), np.uint8), ExitPolicy(0.0, 1, need)), submitted=0.0)


def step(scheduler: Scheduler) -> None:
    for running in scheduler.running:
        running.row.t += 1
        running.row.stop_reason = running.row.policy.decide(running.row.t, 1.0)


def test_queue_is_bounded() -> None:
    scheduler = Scheduler(slots=1, queue_capacity=2)
    scheduler.submit(job())
    scheduler.submit(job())
    with pytest.raises(QueueFull):
        scheduler.submit(job())


def test_cancelled_while_waiting_never_runs() -> None:
    scheduler = Scheduler(slots=2, queue_capacity=4)
    gone, stays = job(), job()
    scheduler.submit(gone)
    scheduler.submit(stays)
    gone.future.cancel()
    assert scheduler.fill(0.0) == 1
    assert scheduler.running == [stays]


def test_evict_empties_the_slots() -> None:
    scheduler = Scheduler(slots=2, queue_capacity=4)
    jobs = [job() for _ in range(3)]
    for one in jobs:
        scheduler.submit(one)
    scheduler.fill(0.0)
    assert scheduler.evict() == jobs[:2]
    assert scheduler.fill(0.0) == 1


@given(
    needs=st.lists(st.integers(1, 6), min_size=1, max_size=40),
    slots=st.integers(1, 8),
)
def test_every_job_runs_exactly_its_steps_in_order_of_arrival(needs: list[int], slots: int) -> None:
    scheduler = Scheduler(slots, queue_capacity=len(needs))
    jobs = [job(need) for need in needs]
    for one in jobs:
        scheduler.submit(one)
    done: list[Job] = []
    starts: list[Job] = []
    now = 0.0
    while scheduler.waiting or scheduler.running:
        entered = scheduler.fill(now)
        assert len(scheduler.running) <= slots
        starts += scheduler.running[len(scheduler.running) - entered :]
        before = list(scheduler.running)
        step(scheduler)
        finished, keep = scheduler.retire(now + 1)
        assert scheduler.running == [before[k] for k in keep]
        done += finished
        now += 1
    assert starts == jobs
    assert len(done) == len(jobs)
    assert all(one.row.t == need for one, need in zip(jobs, needs, strict=True))
    assert all(one.finished - one.started == need for one, need in zip(jobs, needs, strict=True))
