"""The decoders' queue on its own: bounded, first come first served, large ones not starved."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeserve.service.admission import Admission
from spikeserve.service.decoding import PRIOR_SECONDS, PRIOR_WORK, Decode, DecodeQueue
from spikeserve.service.errors import QueueFull, UnusableImage
from spikeserve.service.images import Inspection

ADMISSION = Admission(lambda: 1, 1 << 30, 1, lambda: None)
NOBODY_WAITS: Any = None


def job(work: int = PRIOR_WORK, memory: int = 1, format: str = "PNG") -> Decode:
    inspection = Inspection(format, work, 1, memory, work, False)
    return Decode(ADMISSION.file(b"file"), inspection, (8, 8, 3), NOBODY_WAITS)


def queue(threads: int = 1, seconds: float = 100, memory: int = 1000) -> DecodeQueue:
    return DecodeQueue(threads, seconds, memory)


def taken(waiting: DecodeQueue) -> Decode:
    found = waiting.take()
    assert found is not None
    return found


def test_the_queue_is_bounded_in_expected_waiting_time() -> None:
    waiting = queue(threads=2, seconds=PRIOR_SECONDS)
    for _ in range(3):
        waiting.submit(job())  # the third waits for two, on two threads
    with pytest.raises(QueueFull) as refusal:
        waiting.submit(job())
    assert refusal.value.seconds == pytest.approx(1.5 * PRIOR_SECONDS)
    with pytest.raises(QueueFull):
        waiting.check()
    taken(waiting)
    taken(waiting)
    waiting.check()


def test_the_shortest_queue_takes_the_longest_image() -> None:
    waiting = queue(seconds=1e-9)
    waiting.submit(job(1000 * PRIOR_WORK))
    with pytest.raises(QueueFull):
        waiting.submit(job(1))


def test_what_decoding_takes_is_learnt_for_each_format() -> None:
    waiting = queue()
    for _ in range(100):
        one = job(format="JPEG")
        waiting.submit(one)
        waiting.done(taken(waiting), PRIOR_SECONDS / 10)
    jpeg, png = job(format="JPEG"), job()
    waiting.submit(jpeg)
    assert waiting.expected_wait == pytest.approx(PRIOR_SECONDS / 10, rel=0.01)
    waiting.submit(png)
    assert waiting.expected_wait == pytest.approx(1.1 * PRIOR_SECONDS, rel=0.01)


def test_a_crowd_of_tiny_images_says_little_of_a_large_one() -> None:
    waiting = queue()
    large = job(10 * PRIOR_WORK)
    for _ in range(5):
        waiting.submit(large)
        waiting.done(taken(waiting), 10 * PRIOR_SECONDS)
        waiting.submit(tiny := job(100))
        assert taken(waiting) is tiny
        waiting.done(tiny, PRIOR_SECONDS / 1000)  # ten times what its pixels would
    waiting.submit(large)
    assert waiting.expected_wait == pytest.approx(10 * PRIOR_SECONDS, rel=0.01)


def test_images_that_failed_teach_nothing() -> None:
    waiting = queue()
    for _ in range(100):
        waiting.submit(job())
        waiting.done(taken(waiting), None)
    waiting.submit(job())
    assert waiting.expected_wait == pytest.approx(PRIOR_SECONDS)


def test_running_images_are_bounded_in_memory_and_large_ones_wait_for_each_other() -> None:
    waiting = queue(threads=4, memory=100)
    first, large, small = job(memory=60), job(memory=60), job(memory=1)
    for one in (first, large, small):
        waiting.submit(one)
    assert taken(waiting) is first
    assert waiting.take() is None, "there is no room, and who came later does not overtake"
    assert waiting.running_bytes == 60
    waiting.done(first, None)
    assert taken(waiting) is large
    assert taken(waiting) is small
    assert waiting.running_bytes == 61


def test_who_leaves_makes_room_for_the_next() -> None:
    waiting = queue(memory=100)
    running, gone, next_one = job(memory=60), job(memory=60), job(memory=40)
    for one in (running, gone, next_one):
        waiting.submit(one)
    assert taken(waiting) is running
    assert waiting.leave(gone)
    assert not waiting.leave(gone)
    assert not waiting.leave(running), "it is running"
    assert taken(waiting) is next_one
    assert waiting.expected_wait == 0


def test_what_can_never_fit_is_refused_with_both_numbers() -> None:
    waiting = queue(memory=1000)
    with pytest.raises(UnusableImage, match=r"may take 1001 bytes; at most 1000"):
        waiting.submit(job(memory=1001))
    waiting.submit(job(memory=1000))
    assert taken(waiting)


@given(st.lists(st.tuples(st.integers(1, 100), st.sampled_from(["come", "take", "done", "leave"]))))
def test_whatever_happens_the_books_agree(events: list[tuple[int, str]]) -> None:
    waiting = queue(threads=3, seconds=1e-3, memory=100)
    order: list[Decode] = []
    for size, event in events:
        if event == "come":
            one = job(size * 1000, size)
            try:
                waiting.submit(one)
            except QueueFull:
                assert waiting.waiting
            else:
                order.append(one)
        elif event == "take" and (found := waiting.take()):
            assert found is order.pop(0)
        elif event == "done" and waiting.running:
            waiting.done(next(iter(waiting.running)), size / 1000)
        elif event == "leave" and order:
            assert waiting.leave(order.pop(size % len(order)))
        assert list(waiting.waiting) == order
        assert waiting.running_bytes == sum(r.inspection.memory_bytes for r in waiting.running)
        assert waiting.running_bytes <= 100
        wait = sum(one.expected_seconds for one in order) / 3
        assert waiting.expected_wait == pytest.approx(wait, abs=1e-12)
        assert waiting.running or not order or waiting.waiting[0].inspection.memory_bytes <= 100
