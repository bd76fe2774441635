"""The page below a prefix, behind a proxy that strips it and behind one that does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Route, expect

from spikeserve.service.settings import DEFAULT_BUNDLE
from tests.load.servers import Service, served
from tests.page.conftest import Visitor

pytestmark = pytest.mark.verify

PREFIX = "/vision"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("prefix")
    with served(DEFAULT_BUNDLE, folder, "--root-path", PREFIX) as service:
        yield service


@pytest.mark.parametrize("strips", [True, False])
def test_everything_is_asked_below_the_prefix(
    service: Service, visitor: Visitor, png: bytes, strips: bool
) -> None:
    def forward(route: Route) -> None:
        url = route.request.url
        assert url.startswith(f"{visit.origin}{PREFIX}/"), url
        route.fulfill(response=route.fetch(url=url.replace(PREFIX, "", 1)))

    visit = visitor(service)
    if strips:
        visit.page.route("**", forward)
    visit.open(f"{PREFIX}/#threshold=0.3")
    expect(visit.at("#verdict")).to_contain_text("cat")
    visit.agrees()
    visit.answered(visit.upload, png)
    visit.page.get_by_role("button", name="Copy as curl").click()
    expect(visit.at("#snippet")).to_contain_text(f"{visit.origin}{PREFIX}/classify?")
    assert all(r.url.startswith(f"{visit.origin}{PREFIX}/") for r in visit.requests)
    visit.page.get_by_role("link", name="docs").click()
    expect(visit.page.get_by_text("/classify/stream").first).to_be_visible()
