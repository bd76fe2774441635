"""The dashboard in Chromium, whose only origin does not exist: files and answers come from here."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from playwright.sync_api import Page, Route, sync_playwright

from benchmarks.page import BROWSERS, FLAGS
from spikeserve.deploy.grafana.kinds import Json

HERE = Path(__file__).parent
BUILD = HERE / "build"
PACKAGES = HERE / "node_modules"
ORIGIN = "http://board"
PAGE = """<!doctype html>
<link rel="stylesheet" href="/board.css">
<div id="board"></div>
<script src="/board.js"></script>
"""
FONT = re.compile(r"/public/fonts/inter/Inter-(Regular|Medium)\.woff2")
WEIGHTS = {"Regular": 400, "Medium": 500}
ICONS = "/public/build/"
DRAWN_MS = 2000  # plots are drawn in animation frames


def photograph(settings: Json, prometheus: str, picture: Path) -> list[str]:
    """A PNG of the dashboard; returns titles of panels with a query that found nothing.

    Args:
        settings: what ``src/board.tsx`` wants to know.
        prometheus: the address that queries go to.

    Raises:
        FileNotFoundError: Chromium is not installed.
        RuntimeError: the page complained.
    """
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        raise FileNotFoundError("Chromium is not installed; on Debian: apt-get install chromium")

    def answer(route: Route) -> None:
        address = urlsplit(route.request.url)
        if address.path == "/":
            route.fulfill(content_type="text/html", body=PAGE)
        elif address.path.startswith("/api/"):
            found = httpx.get(f"{prometheus}{address.path}?{address.query}", trust_env=False)
            route.fulfill(content_type="application/json", body=found.text)
        else:
            route.fulfill(path=_file(address.path))

    with tempfile.TemporaryDirectory() as profile, sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=program,
            args=FLAGS,
            viewport={"width": settings["width"], "height": 1000},
        )
        try:
            page = browser.new_page()
            complaints = _complaints(page)
            page.route("**/*", answer)
            page.goto(ORIGIN)
            empty: list[str] = page.evaluate("settings => draw(settings)", settings)
            page.wait_for_load_state("networkidle")
            page.wait_for_timeout(DRAWN_MS)
            page.locator("#board").screenshot(path=picture)
        finally:
            browser.close()
    if complaints:
        raise RuntimeError("\n".join(sorted(complaints)))
    return empty


def _complaints(page: Page) -> set[str]:
    """Filled while the page lives."""
    found: set[str] = set()
    page.on("pageerror", lambda error: found.add(str(error)))
    page.on("console", lambda said: found.add(said.text) if said.type == "error" else None)
    return found


def _file(path: str) -> Path:
    if font := FONT.fullmatch(path):
        name = f"inter-latin-{WEIGHTS[font[1]]}-normal.woff2"
        return PACKAGES / "@fontsource" / "inter" / "files" / name
    if path.startswith(ICONS):
        return PACKAGES / "@grafana" / "ui" / "dist" / "public" / path.removeprefix(ICONS)
    return BUILD / path.removeprefix("/")
