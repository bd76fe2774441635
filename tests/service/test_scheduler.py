"""The scheduling policy on its own: bounded, first come first served, no lost row."""

from __future__ import annotations

from concurrent.futures import Future

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeserve.models.exits import ExitPolicy
from spikeserve.models.inference import Row
from spikeserve.service.errors import DeadlineExceeded, InferenceFailed, QueueFull
from spikeserve.service.jobs import Job
from spikeserve.service.scheduler import Scheduler


def job(need: int = 1) -> Job:
    row = Row(np.zeros((1, 1, 1), np.uint8), ExitPolicy(0.0, 1, need))
    return Job(row, Future(), expected_timesteps=need)


def step(scheduler: Scheduler) -> None:
    for running in scheduler.running:
        running.row.t += 1
        running.row.stop_reason = running.row.policy.decide(running.row.t, 1.0)


def test_the_queue_is_bounded_in_expected_timesteps() -> None:
    scheduler = Scheduler(slots=1, queue_timesteps=4)
    scheduler.step_seconds = 0.5
    scheduler.submit(job(need=3))
    scheduler.submit(job(need=1))
    with pytest.raises(QueueFull) as refusal:
        scheduler.submit(job(need=1))
    assert refusal.value.headers == {"Retry-After": "2"}  # 4 timesteps of half a second
    scheduler.fill(0.0)
    scheduler.submit(job(need=3))
    assert scheduler.pending_timesteps == 4


def test_a_row_longer_than_the_queue_may_wait_alone() -> None:
    scheduler = Scheduler(slots=1, queue_timesteps=2)
    scheduler.submit(job(need=6))
    with pytest.raises(QueueFull):
        scheduler.submit(job(need=1))


def test_who_leaves_the_queue_never_runs_and_frees_its_timesteps() -> None:
    scheduler = Scheduler(slots=2, queue_timesteps=4)
    gone, stays = job(2), job(2)
    scheduler.submit(gone)
    scheduler.submit(stays)
    assert scheduler.leave(gone)
    assert not scheduler.leave(gone)
    assert scheduler.pending_timesteps == 2
    assert scheduler.fill(0.0) == 1
    assert scheduler.running == [stays]
    assert not scheduler.leave(stays)


def test_cancelled_and_failed_rows_leave_after_the_step() -> None:
    scheduler = Scheduler(slots=3, queue_timesteps=9)
    gone, failed, stays = jobs = [job(3) for _ in range(3)]
    for one in jobs:
        scheduler.submit(one)
    scheduler.fill(0.0)
    step(scheduler)
    gone.cancelled, failed.error = True, InferenceFailed("broken")
    assert scheduler.retire(1.0) == ([gone, failed], [2])
    assert stays.row.stop_reason is None


def test_deadlines_stop_running_rows_and_take_waiting_ones_out() -> None:
    scheduler = Scheduler(slots=1, queue_timesteps=9)
    running, waiting, patient = jobs = [job(3) for _ in range(3)]
    running.deadline = waiting.deadline = 5.0
    for one in jobs:
        scheduler.submit(one)
    scheduler.fill(0.0)
    step(scheduler)
    assert scheduler.retire(4.9) == ([], [0])
    assert scheduler.overdue(4.9) == []
    assert scheduler.retire(5.0) == ([running], [])
    assert (running.row.stop_reason, running.row.t) == ("deadline", 1)
    assert scheduler.overdue(5.0) == [waiting]
    assert isinstance(waiting.error, DeadlineExceeded)
    assert list(scheduler.waiting) == [patient]


def test_a_row_that_is_sure_at_its_deadline_stopped_because_it_was_sure() -> None:
    scheduler = Scheduler(slots=1, queue_timesteps=9)
    sure = job(1)
    sure.deadline = 1.0
    scheduler.submit(sure)
    scheduler.fill(0.0)
    step(scheduler)
    scheduler.retire(2.0)
    assert sure.row.stop_reason == "max_timesteps"


def test_clear_empties_slots_and_queue() -> None:
    scheduler = Scheduler(slots=2, queue_timesteps=4)
    jobs = [job() for _ in range(3)]
    for one in jobs:
        scheduler.submit(one)
    scheduler.fill(0.0)
    assert scheduler.clear() == jobs
    assert scheduler.fill(0.0) == 0
    assert scheduler.pending_timesteps == 0


@given(
    needs=st.lists(st.integers(1, 6), min_size=1, max_size=40),
    slots=st.integers(1, 8),
)
def test_every_job_runs_exactly_its_steps_in_order_of_arrival(needs: list[int], slots: int) -> None:
    scheduler = Scheduler(slots, queue_timesteps=sum(needs))
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
