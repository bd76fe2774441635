"""The threshold that is dragged: where the page says that an image leaves, it leaves."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.conftest import encoded
from tests.load.servers import Service
from tests.page.conftest import Visitor

RNG = np.random.default_rng(20)


def picture(side: int = 48) -> bytes:
    """Blobs of colour under noise: something between a photograph and nothing."""
    coarse = RNG.integers(0, 256, (3, 3, 3)).repeat(side // 3, 0).repeat(side // 3, 1)
    noise = RNG.integers(-128, 129, coarse.shape) * RNG.random()
    return encoded(np.clip(coarse + noise, 0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    "images", [5, pytest.param(100, marks=pytest.mark.verify)], ids="{} images".format
)
def test_dragging_equals_the_service_exactly(
    shipped: Service, visitor: Visitor, images: int
) -> None:
    visit = visitor(shipped).open()
    noise = visit.page.get_by_role("slider", name="Noise")
    exits = set()
    for k in range(images):
        body = picture()
        visit.answered(visit.upload, body)
        if k % 2:  # and then it is the page that knows what was sent
            noise.fill(str(RNG.integers(1, 101)))
            expect(visit.at("#slowdown li")).to_have_count(1)
        own = visit.answered(visit.drag, RNG.random())
        asked = dict(parse_qsl(urlsplit(own.url).query))
        assert float(asked["entropy_threshold"]) == visit.threshold
        assert own.json()["timesteps_used"] == visit.exit
        if k % 2 == 0:
            answer = shipped.client.post(
                "/classify",
                params={"entropy_threshold": visit.threshold, "brownout": False},
                content=body,
                headers={"Content-Type": "image/png"},
            )
            assert answer.json()["timesteps_used"] == visit.exit
        exits.add(visit.exit)
    assert len(exits) > 1, "images that all leave alike prove nothing"


def test_the_exit_moves_while_it_is_dragged(shipped: Service, visitor: Visitor) -> None:
    """Before anybody is asked: the rule is repeated in the browser."""
    visit = visitor(shipped).open()
    asked = len(visit.requests)
    grip = visit.handle.locator(".grip").bounding_box()
    plot = visit.at("#entropy svg").bounding_box()
    assert grip
    assert plot
    mouse = visit.page.mouse
    mouse.move(grip["x"] + 5, grip["y"] + 5)
    mouse.down()
    mouse.move(grip["x"] + 5, plot["y"] + plot["height"] - 1)
    assert (visit.threshold, visit.exit) == (0, 4)
    mouse.move(grip["x"] + 5, plot["y"] + 1)
    assert (visit.threshold, visit.exit) == (1, 1)
    classified = [r for r in visit.requests[asked:] if "/classify" in r.url]
    assert not classified
    mouse.up()
    visit.agrees()


@pytest.mark.verify
def test_a_point_of_the_curve_brings_its_threshold(shipped: Service, visitor: Visitor) -> None:
    visit = visitor(shipped).open()
    points = shipped.client.get("/v1/models/early-exit-vgg8-cifar10/calibration").json()["curve"]
    dots = visit.at("#curve circle.dot:not(.exit)")
    assert dots.count() == len(points)
    for point in (points[0], points[len(points) // 2]):
        dot = dots.nth(points.index(point))
        visit.answered(dot.click, force=True)
        assert visit.threshold == point["entropy_threshold"]


@pytest.mark.verify
def test_a_finger_drags_as_well(shipped: Service, visitor: Visitor) -> None:
    telephone = {"width": 380, "height": 800}
    visit = visitor(shipped, viewport=telephone, has_touch=True, is_mobile=True).open()
    grip = visit.handle.locator(".grip")
    visit.at("#entropy svg").scroll_into_view_if_needed()
    box = grip.bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before, scrolled = visit.threshold, visit.page.evaluate("scrollY")
    fingers = visit.page.context.new_cdp_session(visit.page)

    def touch(kind: str, *points: dict[str, float]) -> None:
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [*points]})

    touch("touchStart", {"x": x, "y": y})
    for way in range(10, 50, 10):
        touch("touchMove", {"x": x, "y": y + way})
    visit.answered(touch, "touchEnd")
    assert visit.threshold < before
    assert visit.page.evaluate("scrollY") == scrolled
