"""Free pages go back to the operating system when a crowd is over, and only then."""

from __future__ import annotations

import threading

from spikeserve.service.memory import CALM_BYTES, CROWD_BYTES, Crowds, return_free_pages
from tests.processes import PATIENCE_SECONDS


def test_free_pages_are_given_back_once_after_a_crowd() -> None:
    given_back = threading.Semaphore(0)
    crowds = Crowds(given_back.release)
    for held in (0, CROWD_BYTES, 0, CROWD_BYTES + 1, CALM_BYTES + 1, CROWD_BYTES + 1):
        crowds.look(held)
    assert not given_back.acquire(timeout=0)
    for held in (CALM_BYTES, 0, CROWD_BYTES, 0):
        crowds.look(held)
    assert given_back.acquire(timeout=PATIENCE_SECONDS)
    assert not given_back.acquire(timeout=0)


def test_the_c_library_is_asked_whichever_it_is() -> None:
    return_free_pages()
