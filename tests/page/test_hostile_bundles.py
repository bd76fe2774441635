"""Bundles of others: many classes, many timesteps, one channel, and labels that are attacks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from spikeserve.models.bundle import save_bundle
from spikeserve.models.network import Network
from spikeserve.models.plans import planned
from spikeserve.training.export import step_graph
from tests.conftest import encoded
from tests.load.servers import Service, served
from tests.page.conftest import Visitor
from tests.page.visits import Visit
from tests.programs import IMAGE_SHAPE, PLAN, random_program, tiny_manifest

pytestmark = pytest.mark.verify

LABELS = (
    "<script>alert('label')</script>",
    "<img src=x onerror=alert('label')>",
    "\"><svg onload=alert('label')>",
    "\u202eقطة\u202e cat",
    "שלום עולם (1) abc",
    "a label without end " * 40,
    "W" * 400,
    "𝒸𝒶𝓉🐈‍⬛",
    "{{7*7}}${7*7}%s%n",
    "&lt;b&gt;&amp;",
)
NARROW = {"width": 380, "height": 800}


def network(classes: int, channels: int) -> Network:
    height, width, _ = IMAGE_SHAPE
    return planned(
        PLAN, (height, width, channels), classes, leak_q=230, reset="hard", fire_once=True
    )


def save(folder: Path, labels: tuple[str, ...], *, timesteps: int = 4, channels: int = 3) -> Path:
    program = random_program(network(len(labels), channels))
    manifest = tiny_manifest(program, folder.name, timesteps, labels)
    save_bundle(folder, manifest, program, step_graph(program).SerializeToString())
    return folder


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("hostile")
    many = tuple(f"class {k}" for k in range(1000))
    others = (
        save(folder / "many", many, timesteps=64),
        save(folder / "long", many[:10], timesteps=1024),
        save(folder / "grey", many[:10], channels=1),
    )
    flags = [flag for bundle in others for flag in ("--bundle", str(bundle))]
    with served(save(folder / "labels", LABELS), folder, *flags) as service:
        yield service


WIDE = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
  [...document.querySelectorAll("body *")]
  .filter((one) => one.getBoundingClientRect().right > innerWidth)
  .filter((one) => !one.closest("#stage, nav, pre"))
  .map((one) => one.outerHTML.slice(0, 99))"""


def fits(visit: Visit) -> None:
    """Nothing but what may scroll is wider than the window."""
    wide = visit.page.evaluate(WIDE)
    assert not wide, "\n".join(wide)


@pytest.mark.parametrize("name", ["many", "long", "grey"])
def test_an_unusual_network_is_watched(service: Service, visitor: Visitor, name: str) -> None:
    visit = visitor(service, viewport=NARROW).open(f"/#model={name}:1")
    expect(visit.at("#model option:checked")).to_contain_text(name)
    expect(visit.at("#problem")).to_be_hidden()
    visit.agrees()
    fits(visit)
    visit.answered(visit.drag, 0.97)
    last = visit.exit
    assert visit.at("#verdict").inner_text().endswith("timesteps")
    visit.answered(visit.drag, 0.01)
    assert visit.exit <= last
    visit.at("#back").click()
    visit.at("#play").click()
    fits(visit)


def test_labels_are_text_whatever_they_say(service: Service, visitor: Visitor) -> None:
    """Scripts would be dialogs or breaches of the policy, and those fail every test here."""
    visit = visitor(service, viewport=NARROW).open()
    shown = visit.at("#columns bdi").all_text_contents()
    assert len(shown) == 4 * 5
    assert set(shown) <= set(LABELS)
    assert visit.page.locator("main script, main img[onerror], main svg[onload]").count() == 0
    fits(visit)
    pictures = np.random.default_rng(5).integers(0, 256, (6, *IMAGE_SHAPE), np.uint8)
    for pixels in pictures:
        visit.answered(visit.upload, encoded(pixels))
        assert visit.at("#verdict bdi").text_content() in LABELS
        fits(visit)
    visit.page.get_by_role("slider", name="Contrast").fill("10")
    expect(visit.at("#slowdown .hint")).to_contain_text("at first")
    visit.page.get_by_role("button", name="Copy the answer's JSON").click()
    expect(visit.at("#snippet")).to_be_visible()
    fits(visit)


def test_another_network_is_chosen(service: Service, visitor: Visitor) -> None:
    visit = visitor(service).open()
    visit.answered(visit.at("#model").select_option, label="grey")
    expect(visit.at("#columns bdi").first).to_contain_text("class ")
    visit.page.reload()
    visit.page.wait_for_selector("html[data-ready]", state="attached")
    expect(visit.at("#model option:checked")).to_have_text("grey")
