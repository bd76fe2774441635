"""The page and /docs with the network cable out: nothing but their own origin is asked."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.load.servers import Service
from tests.page.conftest import Visitor


def test_the_page_asks_its_own_origin_only(
    shipped: Service, visitor: Visitor, png: bytes
) -> None:
    visit = visitor(shipped).open()
    visit.upload(png)
    visit.at("#examples button").last.click()
    visit.drag(0.3)
    visit.at("#parts-show").click()
    visit.page.get_by_role("button", name="Copy as curl").click()
    visit.agrees()
    elsewhere = [r.url for r in visit.requests if not r.url.startswith(f"{visit.origin}/")]
    assert not elsewhere


def test_docs_need_no_network(shipped: Service, visitor: Visitor) -> None:
    visit = visitor(shipped)
    visit.page.goto(f"{visit.origin}/docs")
    expect(visit.page.get_by_text("/classify/stream").first).to_be_visible()
    elsewhere = [
        request.url
        for request in visit.requests
        if not request.url.startswith((f"{visit.origin}/", "data:"))
    ]
    assert not elsewhere


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_nothing_is_kept(shipped: Service, visitor: Visitor, path: str) -> None:
    visit = visitor(shipped)
    visit.page.goto(visit.origin + path, wait_until="networkidle" if path != "/" else "load")
    assert not visit.page.context.storage_state()["cookies"]
    assert not visit.page.context.storage_state()["origins"]
