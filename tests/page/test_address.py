"""The address holds network, threshold and example: a link shows what was seen."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.load.servers import Service
from tests.page.conftest import Visitor

pytestmark = pytest.mark.verify

READY = "html[data-ready]"


def test_a_link_shows_what_was_seen(shipped: Service, visitor: Visitor) -> None:
    visit = visitor(shipped).open()
    example = visit.at("#examples button").nth(1)
    visit.answered(example.click)
    visit.answered(visit.drag, 0.8)
    seen = visit.at("#verdict").inner_text()
    threshold = visit.threshold
    address = visit.page.url.removeprefix(visit.origin)
    visit.page.reload()
    visit.page.wait_for_selector(READY, state="attached")
    for shown in (visit, visitor(shipped).open(address)):
        assert shown.threshold == threshold
        expect(shown.at("#verdict")).to_have_text(seen)
        expect(shown.at("#examples button").nth(1)).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize(
    "fragment",
    [
        "model=none:9&example=none&threshold=none",
        "threshold=-1",
        "threshold=1e999&example=../../secret",
        "model=<script>alert(1)</script>&example=%00",
        "%E0%A4%A",
        "__proto__=1&example=constructor",
    ],
)
def test_an_address_that_makes_no_sense(shipped: Service, visitor: Visitor, fragment: str) -> None:
    visit = visitor(shipped).open(f"/#{fragment}")
    visit.agrees()
    expect(visit.at("#verdict")).to_contain_text("cat")
    assert visit.threshold == 0.421
