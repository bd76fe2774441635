"""axe-core finds nothing to complain of, in whatever state the page is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.load.servers import Service
from tests.page.conftest import Visitor
from tests.page.visits import Visit


def as_it_opens(_: Visit) -> None:
    pass


def in_the_middle_of_play(visit: Visit) -> None:
    visit.at("#play").click()
    expect(visit.at("#play")).to_have_text("Pause")
    visit.at("#scrubber").fill("0.5")


def with_a_problem(visit: Visit) -> None:
    visit.refusals_expected = True
    visit.upload(b"no image", "diary.txt", "text/plain")
    expect(visit.at("#problem")).to_be_visible()


def with_all_opened(visit: Visit) -> None:
    visit.at("#parts-show").click()
    visit.at("#eraser").click()
    visit.page.get_by_role("button", name="Copy as Python").click()
    expect(visit.at("#snippet")).to_be_visible()


def with_the_key_field(visit: Visit) -> None:
    visit.refusals_expected = True
    visit.page.route("**/classify**", lambda route: route.fulfill(status=401, body="{}"))
    visit.at("#examples button").nth(1).click()
    expect(visit.page.get_by_label("API key")).to_be_visible()


def made_harder(visit: Visit) -> None:
    visit.page.get_by_role("slider", name="Noise").fill("70")
    expect(visit.at("#slowdown .hint")).to_contain_text("at first")


WIDE, NARROW = (1280, 900), (380, 800)
STATES: tuple[Callable[[Visit], None], ...] = (
    as_it_opens, in_the_middle_of_play, with_a_problem, with_all_opened, with_the_key_field,
    made_harder,
)  # fmt: skip


def assert_accessible(visit: Visit) -> None:
    results = Axe().run(visit.page)
    assert not results.response["violations"], results.generate_report()


@pytest.fixture
def look(shipped: Service, visitor: Visitor) -> Callable[..., Visit]:
    def opened(theme: str, size: tuple[int, int], **context: Any) -> Visit:
        width, height = size
        viewport = {"width": width, "height": height}
        # axe is a script from nowhere, which the page's policy would not let in.
        return visitor(
            shipped, color_scheme=theme, viewport=viewport, bypass_csp=True, **context
        ).open()

    return opened


def test_every_state(look: Callable[..., Visit]) -> None:
    for state in STATES:
        visit = look("light", WIDE)
        state(visit)
        assert_accessible(visit)


@pytest.mark.verify
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids="{0[0]} px".format)
def test_every_state_in_every_look(
    look: Callable[..., Visit], state: Callable[[Visit], None], theme: str, size: tuple[int, int]
) -> None:
    visit = look(theme, size)
    state(visit)
    assert_accessible(visit)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_telephone(look: Callable[..., Visit], theme: str) -> None:
    visit = look(theme, NARROW)
    width = visit.page.evaluate("document.documentElement.scrollWidth")
    assert width <= NARROW[0]
    assert_accessible(visit)
