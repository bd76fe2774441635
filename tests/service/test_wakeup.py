"""When the worker's thread runs, rule by rule, without a thread or a clock."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

from spikeserve.models.exits import ExitPolicy
from spikeserve.models.inference import Row
from spikeserve.service.jobs import Job
from spikeserve.service.scheduler import Scheduler
from spikeserve.service.wakeup import PATIENCE_S, Wakeup


class Lock:
    """A condition that notes how long anybody waits, and lets something happen meanwhile."""

    def __init__(self) -> None:
        self.waits: list[float | None] = []
        self.meanwhile: Callable[[], None] | None = None

    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...
    def notify(self) -> None: ...

    def wait(self, seconds: float | None) -> bool:
        self.waits.append(seconds)
        if self.meanwhile is None:
            assert seconds is not None, "nobody would ever wake the thread"
            return False
        happens, self.meanwhile = self.meanwhile, None
        happens()
        return True


class Turn:
    """A turn of an event loop: what was called soon, and its end."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def call_soon(self, function: Callable[[], None], *_: Any) -> None:
        self.calls.append(function)

    def end(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


@pytest.fixture
def scheduler() -> Scheduler:
    return Scheduler(2, 100)


@pytest.fixture
def turn() -> Turn:
    return Turn()


@pytest.fixture
def lock() -> Lock:
    return Lock()


@pytest.fixture
def wakeup(scheduler: Scheduler, turn: Turn, lock: Lock) -> Wakeup:
    wakeup = Wakeup(scheduler)
    wakeup.call_soon, wakeup.lock = turn.call_soon, lock  # type: ignore[assignment]
    return wakeup


def queue(scheduler: Scheduler, count: int = 1) -> None:
    for _ in range(count):
        scheduler.submit(Job(Row(np.zeros((1, 1, 1), np.uint8), ExitPolicy(0.0, 1, 4)), Future()))


def test_rows_of_one_turn_wake_the_thread_once_when_it_ends(
    scheduler: Scheduler, turn: Turn, lock: Lock, wakeup: Wakeup
) -> None:
    for _ in range(3):
        queue(scheduler)
        wakeup.wake_soon()
    assert len(turn.calls) == 1
    lock.meanwhile = turn.end
    assert wakeup.wait()
    assert lock.waits == [None]
    wakeup.wake_soon()
    assert len(turn.calls) == 1, "the next turn has a call of its own"


def test_a_turn_whose_rows_have_all_left_wakes_nobody(
    scheduler: Scheduler, turn: Turn, lock: Lock, wakeup: Wakeup
) -> None:
    queue(scheduler)
    wakeup.wake_soon()
    scheduler.clear()
    turn.end()
    lock.meanwhile = wakeup.close
    assert not wakeup.wait()
    assert lock.waits == [None]


def test_a_tick_without_news_is_followed_by_the_next_at_once(
    scheduler: Scheduler, lock: Lock, wakeup: Wakeup
) -> None:
    queue(scheduler)
    scheduler.fill(0.0)
    wakeup.after_tick(news=False)
    assert wakeup.wait()
    assert lock.waits == []


def test_running_rows_wait_a_little_for_the_turn_that_follows_news(
    scheduler: Scheduler, turn: Turn, lock: Lock, wakeup: Wakeup
) -> None:
    queue(scheduler)
    scheduler.fill(0.0)
    wakeup.after_tick(news=True)
    assert wakeup.wait(), "the turn did not end in time"
    wakeup.after_tick(news=True)
    wakeup.wake_soon()
    lock.meanwhile = turn.end
    assert wakeup.wait()
    assert lock.waits == [PATIENCE_S] * 2


def test_a_row_that_came_during_a_tick_with_news_waits_for_the_turn_as_well(
    scheduler: Scheduler, turn: Turn, lock: Lock, wakeup: Wakeup
) -> None:
    queue(scheduler, 3)
    scheduler.fill(0.0)
    wakeup.wake_soon()
    turn.end()
    wakeup.after_tick(news=True)
    assert wakeup.wait()
    assert lock.waits == [PATIENCE_S]


def test_a_closed_thread_finishes_its_rows_without_a_pause(
    scheduler: Scheduler, lock: Lock, wakeup: Wakeup
) -> None:
    queue(scheduler)
    wakeup.close()
    assert wakeup.wait()
    scheduler.clear()
    assert not wakeup.wait()
    assert lock.waits == []
