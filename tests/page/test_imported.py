"""Bundles that were imported: nobody has calibrated them, or they take no images at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from spikeserve.models.bundle import load_bundle, save_bundle
from tests.load.servers import Service, served
from tests.page.conftest import Visitor
from tests.programs import recording_bundle, save_tiny_bundle

pytestmark = pytest.mark.verify


def uncalibrated(folder: Path) -> Path:
    bundle = load_bundle(save_tiny_bundle(folder, "alone"))
    nothing = {"default_entropy_threshold": None, "accuracy_by_timestep": None, "table": ()}
    exits = bundle.manifest.exits.model_copy(update=nothing)
    manifest = bundle.manifest.model_copy(update={"exits": exits})
    save_bundle(folder, manifest, bundle.program, bundle.graph)
    return folder


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("imported")
    calibrated = save_tiny_bundle(folder / "tiny")
    others = (calibrated, recording_bundle(folder / "recordings"))
    flags = [flag for bundle in others for flag in ("--bundle", str(bundle))]
    with served(uncalibrated(folder / "alone"), folder, *flags) as service:
        yield service


def test_a_network_that_is_not_calibrated_runs_to_its_end(
    service: Service, visitor: Visitor
) -> None:
    visit = visitor(service).open()
    expect(visit.at("#problem")).to_be_hidden()
    assert visit.threshold == 0
    assert visit.exit == 4
    visit.agrees()
    expect(visit.at("#expected")).to_contain_text("Not calibrated")
    expect(visit.at("#curve")).to_be_hidden()
    visit.answered(visit.drag, 0.99)
    visit.agrees()
    visit.answered(visit.at("#model").select_option, label="tiny")
    expect(visit.at("#curve")).to_be_visible()
    expect(visit.at("#expected")).to_contain_text("held-out images")


def test_a_network_that_takes_recordings_says_so(service: Service, visitor: Visitor) -> None:
    visit = visitor(service).open()
    visit.refusals_expected = True
    visit.at("#model").select_option(label="recordings")
    visit.says("this model takes recordings, not images: a .npy file with uint8 [4, 16, 16, 2]")
    visit.answered(visit.at("#model").select_option, label="alone")
    expect(visit.at("#problem")).to_be_hidden()
