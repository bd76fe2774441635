"""What the service refuses is said in words, and the page goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Route, expect

from tests.conftest import encoded
from tests.hostile.files import cut
from tests.load.servers import Service
from tests.page.conftest import Visitor
from tests.page.visits import CLASSIFY, STREAM, Visit

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(4000)
PASSING = {
    429: "The service is busy",
    500: "The service failed at this image",
    503: "The service is not ready",
    504: "The time for this answer was over",
}


@pytest.fixture
def visit(shipped: Service, visitor: Visitor) -> Visit:
    visit = visitor(shipped).open()
    visit.refusals_expected = True
    return visit


def refusing(status: int) -> dict[str, object]:
    """What the service would answer, for ``Route.fulfill``."""
    return {
        "status": status,
        "content_type": "application/problem+json",
        "headers": {"Retry-After": "2"} if status in (429, 503) else {},
        "body": json.dumps({"status": status, "detail": "on purpose"}),
    }


@pytest.mark.parametrize(
    ("body", "name", "kind", "words"),
    [
        (
            b"Dear diary,\n" * 99,
            "diary.txt",
            "text/plain",
            "This is no image that the service reads",
        ),
        (HEIC, "IMG_0001.HEIC", "image/heic", "This is no image that the service reads"),
        (b"", "empty.png", "image/png", "It says"),
    ],
    ids=["text", "HEIC", "empty"],
)
def test_no_image_at_all(visit: Visit, body: bytes, name: str, kind: str, words: str) -> None:
    before = visit.at("#columns").text_content()
    visit.upload(body, name, kind)
    visit.says(words)
    assert visit.at("#columns").text_content() == before, "the last image stays"
    visit.usable()


@pytest.mark.verify
def test_a_damaged_image(visit: Visit, png: bytes) -> None:
    visit.upload(cut(png))
    visit.says("The service cannot use this. It says: ")
    visit.usable()


@pytest.mark.verify
def test_a_photo_of_twenty_megabytes_is_sent_smaller(visit: Visit, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2700, 2700, 3), np.uint8)
    photo = tmp_path / "photo.bmp"
    photo.write_bytes(encoded(pixels, "BMP"))
    assert photo.stat().st_size > 20_000_000
    visit.answered(visit.at("#file").set_input_files, photo)
    visit.says("A copy of at most 1024 pixels a side is sent instead")
    visit.usable()


@pytest.mark.verify
def test_what_is_too_large_and_cannot_be_made_smaller(visit: Visit) -> None:
    visit.upload(HEIC + bytes(11 << 20), "IMG_0002.HEIC", "image/heic")
    visit.says("The image is larger than this service takes")
    visit.usable()


@pytest.mark.parametrize(
    "status", [429, 504, *(pytest.param(status, marks=pytest.mark.verify) for status in (500, 503))]
)
def test_what_passes_may_be_tried_again(visit: Visit, png: bytes, status: int) -> None:
    visit.page.route(f"**{STREAM}?*", lambda route: route.fulfill(**refusing(status)))
    visit.upload(png)
    visit.says(PASSING[status])
    visit.says("It says: on purpose.")
    if status in (429, 503):
        visit.says("Again in 2 s")
    visit.page.unroute_all()
    visit.answered(visit.page.get_by_role("button", name="Try again").click)
    expect(visit.at("#problem")).to_be_hidden()


@pytest.mark.verify
def test_a_refused_threshold_leaves_the_page_as_it_was(visit: Visit) -> None:
    """The second question, with the threshold, may be refused as well."""
    visit.page.route(f"**{CLASSIFY}?*", lambda route: route.fulfill(**refusing(429)))
    visit.drag(0.9)
    visit.says(PASSING[429])
    visit.page.unroute_all()
    visit.answered(visit.drag, 0.5)


@pytest.mark.parametrize(
    "body",
    [
        "<html>502 from somewhere</html>",
        "event: surprise\ndata: 5\n\nevent: result\ndata: {}\n\n",
        pytest.param("", marks=pytest.mark.verify),
        pytest.param("event: timestep\ndata: {\n\n", marks=pytest.mark.verify),
        pytest.param("event: timestep\n\n", marks=pytest.mark.verify),
        pytest.param('event: error\ndata: {"status": 500}\n\n', marks=pytest.mark.verify),
    ],
)
def test_a_stream_that_makes_no_sense(visit: Visit, png: bytes, body: str) -> None:
    def nonsense(route: Route) -> None:
        route.fulfill(status=200, content_type="text/event-stream", body=body)

    visit.page.route(f"**{STREAM}?*", nonsense)
    visit.upload(png)
    expect(visit.at("#problem")).to_be_visible()
    visit.page.unroute_all()
    visit.usable()


def test_a_stream_that_ends_in_the_middle(visit: Visit, png: bytes) -> None:
    def half(route: Route) -> None:
        whole = route.fetch().body()
        route.fulfill(status=200, content_type="text/event-stream", body=whole[: len(whole) // 2])

    visit.page.route(f"**{STREAM}?*", half)
    visit.upload(png)
    visit.says("The service does not answer")
    visit.page.unroute_all()
    visit.usable()
