"""The page: what it weighs, what it costs the service, and its pictures: ``make page``.

Costs are the service's processor time in percent of a core: with nobody there, and with the page
open and looked at, nothing clicked. The service and the browser are processes of their own. Needs
Chromium; writes ``docs/page/*.png`` and prints the rest.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.machine import machine
from benchmarks.servers import Server
from benchmarks.servers.processes import ServerProcess
from spikeserve.models.engines.cores import usable_cores

FOLDER = Path("service/page")
PICTURES = Path("docs/page")
CAT = Path("docs/cat.jpg")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
AGREED = "#agreement[data-same=true]"
SERVICE = Server("SpikeServe", "spikeserve.service", threads="--engine-threads")
SETTLING_S = 3.0
MOMENT = 1.45  # of a run that is half-way


@dataclass(frozen=True)
class Picture:
    """A screenshot: how wide, in which colours, of which example, at which moment."""

    name: str
    width: int
    height: int
    scheme: Literal["light", "dark"]
    example: str
    moment: float | None = None


PICTURE_LIST = (
    Picture("light", 1280, 1010, "light", "fog"),
    Picture("dark", 1280, 1900, "dark", "fence"),
    Picture("moment", 1280, 1010, "light", "chimera", MOMENT),
    Picture("phone", 380, 820, "light", "cat"),
)


def sizes() -> dict[str, int]:
    """Bytes of the page's files, by kind."""
    found: Counter[str] = Counter()
    for path in FOLDER.rglob("*"):
        if path.is_file() and path.suffix != ".md":  # which is not served
            found[path.suffix[1:]] += path.stat().st_size
    return {**found, "all": found.total()}


def share(server: ServerProcess, seconds: float) -> float:
    """Percent of a core that the service takes meanwhile."""
    time.sleep(SETTLING_S)
    before, began = server.processor_seconds, time.monotonic()
    time.sleep(seconds)
    return 100 * (server.processor_seconds - before) / (time.monotonic() - began)


def opened(browser: Browser, url: str, picture: Picture) -> Page:
    """The page, when it has shown the example and the service agrees."""
    page = browser.new_page(
        viewport={"width": picture.width, "height": picture.height}, color_scheme=picture.scheme
    )
    page.goto(f"{url}#example={picture.example}")
    page.locator(AGREED).wait_for()
    return page


def take(browser: Browser, url: str, picture: Picture) -> None:
    page = opened(browser, url, picture)
    page.wait_for_timeout(2 * 1000 * SETTLING_S)  # two looks at the service
    if picture.moment:
        scrubber = page.locator("#scrubber")
        scrubber.fill(str(picture.moment))
    page.screenshot(path=PICTURES / f"{picture.name}.png")
    page.close()


def measured(seconds: float) -> dict[str, Any]:
    """Sizes and costs; the pictures are taken on the way."""
    program = next(filter(None, map(shutil.which, BROWSERS)))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        log = Path(folder) / "service.log"
        server = ServerProcess(SERVICE, set(range(usable_cores())), CAT.read_bytes(), log)
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        try:
            server.wait()
            url = f"http://127.0.0.1:{server.port}/"
            alone = share(server, seconds)
            page = opened(browser, url, PICTURE_LIST[0])
            watched = share(server, seconds)
            page.close()
            PICTURES.mkdir(exist_ok=True)
            for picture in PICTURE_LIST:
                take(browser, url, picture)
        finally:
            browser.close()
            server.end()
    percent = {"nobody there": round(alone, 3), "page open": round(watched, 3)}
    return {"machine": machine(), "bytes": sizes(), "percent of a core": percent}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="to measure each cost")
    print(json.dumps(measured(parser.parse_args(arguments).seconds), indent=1))


if __name__ == "__main__":
    main()
