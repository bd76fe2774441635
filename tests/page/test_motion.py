"""Slow motion, and none where it is unwanted."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.load.servers import Service
from tests.page.conftest import Visitor
from tests.page.visits import Visit

pytestmark = pytest.mark.verify

TIMESTEPS = 4
SECONDS = 1.6  # a timestep


def played(visit: Visit) -> list[float]:
    """Where the scrubber is, half a second after the other, in a play of all timesteps."""
    visit.at("#play").click()
    places = []
    for _ in range(int(SECONDS * TIMESTEPS * 2) + 4):
        visit.page.clock.run_for(500)
        places.append(float(visit.at("#scrubber").input_value()))
    expect(visit.at("#play")).to_have_text("Play")
    return places


def test_it_moves_between_timesteps(shipped: Service, visitor: Visitor) -> None:
    visit = visitor(shipped, reduced_motion="no-preference")
    visit.page.clock.install()
    places = played(visit.open())
    assert places == sorted(places)
    assert places[-1] == TIMESTEPS
    assert any(place % 1 for place in places)


def test_reduced_motion_goes_by_whole_timesteps(shipped: Service, visitor: Visitor) -> None:
    visit = visitor(shipped, reduced_motion="reduce")
    visit.page.clock.install()
    assert sorted(set(played(visit.open()))) == [*range(TIMESTEPS + 1)]


def test_the_next_image_plays_by_itself_where_motion_is_wanted(
    shipped: Service, visitor: Visitor
) -> None:
    for motion, words in (("no-preference", "Pause"), ("reduce", "Play")):
        visit = visitor(shipped, reduced_motion=motion)
        visit.page.clock.install()
        visit.open()
        visit.answered(visit.at("#examples button").nth(1).click)
        expect(visit.at("#play")).to_have_text(words)


def test_a_step_at_a_time(shipped: Service, visitor: Visitor) -> None:
    visit = visitor(shipped).open()
    visit.at("#scrubber").fill("0.5")
    expect(visit.at("#verdict")).to_have_text("Looking …")
    expect(visit.at("#columns .now")).to_have_count(1)
    visit.at("#forth").click()
    expect(visit.at("#scrubber")).to_have_value("1")
    expect(visit.at("#verdict")).to_contain_text("cat")
