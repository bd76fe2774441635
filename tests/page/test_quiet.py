"""What the page asks by itself: little, and nothing while nobody sees it."""

from __future__ import annotations

import pytest

from tests.load.servers import Service
from tests.page.conftest import Visitor
from tests.page.visits import CLASSIFY, STATUS, STREAM, Visit

pytestmark = pytest.mark.verify

# As a browser does when another tab is chosen; a headless one always shows its page.
HIDDEN = """(hidden) => {
  Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def looks(visit: Visit, seconds: int) -> int:
    """How often the page looked at the service within so many seconds of its clock."""
    before = visit.asked(STATUS)
    for _ in range(seconds):
        visit.page.clock.run_for(1000)
        visit.at("#service-state").inner_text()
    return visit.asked(STATUS) - before


def test_it_looks_every_other_second_and_asks_nothing_else(
    shipped: Service, visitor: Visitor
) -> None:
    visit = visitor(shipped)
    visit.page.clock.install()
    visit.open()
    visit.agrees()
    asked = visit.asked(STREAM), visit.asked(CLASSIFY)
    assert asked == (1, 1)
    others = len(visit.requests) - visit.asked(STATUS)
    assert 1 <= looks(visit, seconds=20) <= 11
    assert len(visit.requests) - visit.asked(STATUS) == others


def test_a_page_that_is_not_seen_asks_nothing(shipped: Service, visitor: Visitor) -> None:
    visit = visitor(shipped)
    visit.page.clock.install()
    visit.open()
    visit.agrees()
    visit.page.evaluate(HIDDEN, True)
    looks(visit, seconds=3)  # one may have been on its way
    before = len(visit.requests)
    assert looks(visit, seconds=20) == 0
    assert len(visit.requests) == before
    visit.page.evaluate(HIDDEN, False)
    assert looks(visit, seconds=6) > 0
