"""Ways to bring an image, and to change one."""

from __future__ import annotations

import re
from typing import Literal

import pytest
from playwright.sync_api import Route, expect

from tests.load.servers import Service
from tests.page.conftest import Visitor
from tests.page.visits import STREAM, Visit


@pytest.fixture
def visit(shipped: Service, visitor: Visitor) -> Visit:
    return visitor(shipped).open()


def test_a_chosen_file(visit: Visit, png: bytes) -> None:
    visit.answered(visit.upload, png)
    expect(visit.at("#examples [aria-pressed=true]")).to_have_count(0)
    visit.upload(png)  # again: the answer is no cat any more, and still the same
    visit.agrees()


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_a_file_dropped_or_pasted(
    visit: Visit, png: bytes, event: Literal["drop", "paste"]
) -> None:
    visit.answered(visit.bring, event, png)
    expect(visit.at("#examples [aria-pressed=true]")).to_have_count(0)
    assert visit.asked(STREAM) == 2


@pytest.mark.verify
def test_every_example_is_answered(visit: Visit) -> None:
    buttons = visit.at("#examples button")
    for k in range(1, buttons.count()):
        button = buttons.nth(k)
        visit.answered(button.click)
        expect(button).to_have_attribute("aria-pressed", "true")
        expect(button.locator(".badge")).to_have_text(re.compile(rf"^{visit.exit} timesteps?$"))
    expect(visit.at("#examples [aria-pressed=true]")).to_have_count(1)


@pytest.mark.verify
def test_what_is_made_harder_is_asked_about_anew(visit: Visit) -> None:
    first = visit.at("#columns").text_content()
    noise = visit.page.get_by_role("slider", name="Noise")
    noise.fill("60")
    words = visit.at("#slowdown .hint")
    expect(words).to_contain_text("at first")
    assert visit.at("#columns").text_content() != first
    visit.at("#eraser").click()
    visit.at("#picture").click()
    expect(visit.at("#slowdown li")).to_have_count(2)
    visit.answered(visit.at("#mend").click)
    expect(noise).to_have_value("0")
    assert visit.at("#columns").text_content() == first


@pytest.mark.verify
def test_the_eraser_rubs_by_mouse(visit: Visit) -> None:
    visit.at("#eraser").click()
    visit.at("#picture").click()
    expect(visit.at("#slowdown li")).to_have_count(1)


@pytest.mark.verify
def test_the_last_choice_counts(visit: Visit) -> None:
    """However long an earlier one takes to arrive."""
    slow, fast = visit.at("#examples button").nth(1), visit.at("#examples button").nth(2)
    file = f"**/{slow.locator('img').get_attribute('src')}"
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    visit.page.route(file, hold)
    slow.click()
    visit.answered(fast.click)
    seen = visit.at("#verdict").inner_text()
    with visit.page.expect_response(file):
        held[0].continue_()
    visit.answered(visit.drag, 0.02)
    visit.answered(visit.at("#calibrated").click)
    expect(fast).to_have_attribute("aria-pressed", "true")
    expect(visit.at("#verdict")).to_have_text(seen)


@pytest.mark.verify
def test_clicking_wildly_ends_with_the_last(visit: Visit) -> None:
    buttons = visit.at("#examples button")
    for k in (1, 2, 3, 1, 2, 3, 2):
        buttons.nth(k).click(no_wait_after=True)
    expect(buttons.nth(2).locator(".badge")).not_to_have_text("")
    expect(buttons.nth(2)).to_have_attribute("aria-pressed", "true")
    visit.agrees()
    seen = visit.at("#verdict").inner_text()
    visit.page.reload()
    visit.page.wait_for_selector("html[data-ready]", state="attached")
    expect(visit.at("#verdict")).to_have_text(seen)
