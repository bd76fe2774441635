"""The camera, a made-up one: pictures one after the other, and not too many."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Route, expect

from tests.load.servers import Service
from tests.page.conftest import Visitor
from tests.page.visits import STREAM, Visit

pytestmark = pytest.mark.verify

MOST_A_SECOND = 10
PICTURES = 6
CAMERA = {"permissions": ["camera"]}


@pytest.fixture
def visit(shipped: Service, visitor: Visitor) -> Visit:
    """With a clock that stands still unless a test moves it."""
    visit = visitor(shipped, **CAMERA)
    visit.page.clock.install()
    return visit.open()


def filmed(visit: Visit, seconds: float) -> int:
    """How often the network was asked within so many seconds of the page's clock."""
    before = visit.asked(STREAM)
    for _ in range(round(seconds * 10)):
        visit.page.clock.run_for(100)
        visit.at("#verdict").inner_text()  # the page has its turn
    return visit.asked(STREAM) - before


def test_at_most_ten_pictures_a_second(visit: Visit) -> None:
    before = visit.asked(STREAM)
    visit.at("#film").click()
    expect(visit.at("#film")).to_have_attribute("aria-pressed", "true")
    seconds = asked = 0.0
    while asked < PICTURES:
        filmed(visit, 0.1)
        seconds += 0.1
        asked = visit.asked(STREAM) - before
        assert asked <= 1 + MOST_A_SECOND * seconds
    visit.at("#film").click()
    expect(visit.at("#film")).to_have_attribute("aria-pressed", "false")
    visit.page.clock.run_for(1000)
    visit.answered(visit.at("#examples button").nth(1).click)
    assert filmed(visit, seconds=2) == 0


def test_it_backs_off_where_the_service_is_busy(visit: Visit) -> None:
    def busy(route: Route) -> None:
        body = json.dumps({"status": 429, "detail": "too many images"})
        route.fulfill(status=429, headers={"Retry-After": "2"}, body=body)

    visit.refusals_expected = True
    visit.page.route(f"**{STREAM}?*", busy)
    visit.at("#film").click()
    visit.page.clock.run_for(50)
    visit.says("The service is busy. It says: too many images. Again in 2 s.")
    assert filmed(visit, seconds=1.5) == 0
    assert filmed(visit, seconds=4) <= 2
    visit.page.unroute_all()
    expect(visit.at("#film")).to_have_attribute("aria-pressed", "true")
    refused = visit.asked(STREAM)
    while visit.asked(STREAM) == refused:
        filmed(visit, seconds=1)
    expect(visit.at("#problem")).to_be_hidden()


def test_a_camera_that_is_not_allowed_is_said(shipped: Service, visitor: Visitor) -> None:
    visit = visitor(shipped).open()
    visit.at("#film").click()
    visit.says("There is no picture from the camera")
    expect(visit.at("#film")).to_have_attribute("aria-pressed", "false")
    visit.usable()
