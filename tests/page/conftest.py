from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from spikeserve.service.settings import DEFAULT_BUNDLE
from tests.load.servers import Service, served
from tests.page.visits import Visit

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_MS = 30_000


class Visitor(Protocol):
    """Comes with a page of its own to a service; what the page complains of fails the test."""

    def __call__(self, service: Service | str, **context: Any) -> Visit: ...


# Not for the session: as long as Playwright runs, its event loop is this thread's, and
# `asyncio.run` would fail in tests elsewhere.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser is installed: {', '.join(BROWSERS)}")
    expect.set_options(timeout=PATIENCE_MS)
    arguments = ["--use-fake-device-for-media-stream"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def shipped(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The bundle that is served by default."""
    assert browser.is_connected()
    with served(DEFAULT_BUNDLE, tmp_path_factory.mktemp("shipped")) as service:
        yield service


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Visitor]:
    visits: list[Visit] = []

    def visit(service: Service | str, **context: Any) -> Visit:
        origin = service if isinstance(service, str) else f"http://127.0.0.1:{service.port}"
        options: dict[str, Any] = {"reduced_motion": "reduce", **context}
        page = browser.new_context(**options).new_page()
        page.set_default_timeout(PATIENCE_MS)
        visits.append(Visit(page, origin))
        return visits[-1]

    yield visit
    for one in visits:
        one.page.context.close()
    assert [one.complaints for one in visits] == [[]] * len(visits)
