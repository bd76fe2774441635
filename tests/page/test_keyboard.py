"""The page without a mouse."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.load.servers import Service
from tests.page.conftest import Visitor
from tests.page.visits import Visit

MOST_STOPS = 100
# Where the focus is, must be seen: by an outline, of the element or the label that stands for it,
# or by the stroke of a handle.
SEEN = """(element) => {
  element.dataset.reached = "yes";
  const outlined = [element, element.closest("label")].filter(Boolean).some((one) => {
    const {outlineStyle, outlineWidth} = getComputedStyle(one);
    return outlineStyle !== "none" && parseFloat(outlineWidth) > 0;
  });
  const grip = element.querySelector(".grip");
  return outlined || (grip !== null && getComputedStyle(grip).stroke !== "none");
}"""
MISSED = """() => [...document.querySelectorAll("button, input, select, a, [tabindex]")]
  .filter((one) => one.checkVisibility() && !one.disabled && !one.dataset.reached)
  .map((one) => one.outerHTML.slice(0, 99))"""


@pytest.fixture
def visit(shipped: Service, visitor: Visitor) -> Visit:
    return visitor(shipped).open()


def reach(visit: Visit, wanted: Locator) -> None:
    """By Tab alone."""
    for _ in range(MOST_STOPS):
        visit.page.keyboard.press("Tab")
        if wanted.evaluate("(element) => element === document.activeElement"):
            return
    raise AssertionError(f"Tab never reaches {wanted}")


def test_everything_is_reached_and_the_focus_is_seen(visit: Visit) -> None:
    unseen, stops = [], 0
    visit.page.keyboard.press("Tab")
    while (focused := visit.at(":focus")).count():
        if not focused.evaluate(SEEN):
            unseen.append(focused.evaluate("(one) => one.outerHTML"))
        stops += 1
        assert stops < MOST_STOPS, "a trap"
        visit.page.keyboard.press("Tab")
    assert not unseen
    assert not visit.page.evaluate(MISSED)


@pytest.mark.verify
def test_an_image_is_chosen(visit: Visit) -> None:
    visit.page.on("filechooser", lambda _: None)  # asked for at the key it may come too late
    example = visit.at("#examples button").nth(1)
    reach(visit, example)
    visit.answered(visit.page.keyboard.press, "Enter")
    expect(example).to_have_attribute("aria-pressed", "true")
    visit.at("#file").focus()
    with visit.page.expect_file_chooser():
        visit.page.keyboard.press("Enter")


def test_the_threshold_moves(visit: Visit) -> None:
    reach(visit, visit.handle)
    for key, threshold, left_at in (("Home", 0, 4), ("End", 1, 1)):
        visit.answered(visit.page.keyboard.press, key)
        assert (visit.threshold, visit.exit) == (threshold, left_at)
    last = 1.0
    for key in ("ArrowDown", "ArrowLeft", "PageDown"):
        visit.answered(visit.page.keyboard.press, key)
        assert visit.threshold < last
        last = visit.threshold
    visit.answered(visit.page.keyboard.press, "PageUp")
    assert visit.threshold > last
    visit.at("#threshold").focus()
    visit.page.keyboard.press("ControlOrMeta+a")
    visit.page.keyboard.type("0.0123")
    visit.answered(visit.page.keyboard.press, "Enter")
    assert visit.threshold == 0.0123


@pytest.mark.verify
def test_a_point_of_the_curve_is_chosen(visit: Visit) -> None:
    curve = visit.page.get_by_role("slider", name="calibration curve")
    reach(visit, curve)
    points = int(curve.get_attribute("aria-valuemax") or 0)
    places = []
    for key in ("End", *["ArrowLeft"] * (points - 1)):
        visit.page.keyboard.press(key)
        places.append(int(curve.get_attribute("aria-valuenow") or 0))
    assert places == [*range(points, 0, -1)]
    visit.agrees()


@pytest.mark.verify
def test_the_player_is_worked(visit: Visit) -> None:
    reach(visit, visit.at("#back"))
    visit.page.keyboard.press("Enter")
    scrubber = visit.at("#scrubber")
    expect(scrubber).to_have_value("0")  # behind the exit there was nothing to go back over
    visit.page.keyboard.press("Tab")
    reach(visit, visit.at("#forth"))
    for moment in ("1", "4"):
        visit.page.keyboard.press("Enter")
        expect(scrubber).to_have_value(moment)
    reach(visit, visit.at("#play"))
    visit.page.keyboard.press("Space")
    expect(visit.at("#play")).to_have_text("Pause")
    visit.page.keyboard.press("Space")
    expect(visit.at("#play")).to_have_text("Play")
    scrubber.focus()
    visit.page.keyboard.press("Home")
    expect(visit.at("#verdict")).to_have_text("Looking …")
    visit.page.keyboard.press("End")
    expect(visit.at("#verdict")).to_contain_text("after")


@pytest.mark.verify
def test_an_image_is_made_harder(visit: Visit) -> None:
    reach(visit, visit.page.get_by_role("slider", name="Blur"))
    visit.page.keyboard.press("ArrowRight")
    bars = visit.at("#slowdown li")
    expect(bars).to_have_count(1)
    reach(visit, visit.at("#eraser"))
    visit.page.keyboard.press("Space")
    visit.at("#picture").focus()
    visit.page.keyboard.press("ArrowUp")
    visit.page.keyboard.press("Space")
    expect(bars).to_have_count(2)


@pytest.mark.verify
def test_parts_are_opened_and_answers_copied(visit: Visit) -> None:
    reach(visit, visit.at("#parts-show"))
    visit.page.keyboard.press("Enter")
    expect(visit.at("#parts tr").first).to_have_text(re.compile(r"\w.*J.*%"))
    reach(visit, visit.page.get_by_role("button", name="Copy the answer's JSON"))
    visit.page.keyboard.press("Enter")
    expect(visit.at("#snippet")).to_contain_text('"timesteps_used": 1')
