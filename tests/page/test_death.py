"""A service that dies under the page, and comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from spikeserve.models.bundle import save_bundle
from spikeserve.models.encoding import Encoding
from spikeserve.training.export import step_graph
from tests.conftest import encoded
from tests.load.engines import UNLUCKY
from tests.load.servers import served
from tests.page.conftest import Visitor
from tests.programs import IMAGE_SHAPE, random_network, random_program, tiny_manifest

pytestmark = pytest.mark.verify

TIMESTEPS = 300  # a minute, of an unlucky image


@pytest.fixture
def long_bundle(tmp_path: Path) -> Path:
    """It is shown the image's pixels at every timestep."""
    program = random_program(random_network())
    manifest = tiny_manifest(program, timesteps=TIMESTEPS).model_copy(
        update={"encoding": Encoding("direct", TIMESTEPS)}
    )
    save_bundle(tmp_path / "long", manifest, program, step_graph(program).SerializeToString())
    return tmp_path / "long"


def test_killed_in_the_middle_and_started_again(
    long_bundle: Path, tmp_path: Path, visitor: Visitor
) -> None:
    flags = ("--engine", "reference")
    with served(long_bundle, tmp_path, *flags, module="tests.page.slow_service") as service:
        visit = visitor(service).open()
        visit.refusals_expected = True
        visit.upload(encoded(np.full(IMAGE_SHAPE, UNLUCKY, np.uint8)))
        expect(visit.at("#reason")).to_contain_text(f"of {TIMESTEPS} …")
        service.kill()
        visit.says("The service does not answer")
    state = visit.at("#service-state")
    expect(state).to_contain_text("does not answer")
    with served(long_bundle, tmp_path, *flags, port=service.port):
        expect(state).not_to_contain_text("does not answer")
        visit.usable()


def test_a_page_opened_before_its_service_is_ready(
    bundle_folder: Path, tmp_path: Path, visitor: Visitor
) -> None:
    with served(bundle_folder, tmp_path) as service:
        visit = visitor(service)
        visit.refusals_expected = True
        unready = '{"status": 503, "detail": "a model is loading"}'
        visit.page.route("**/v1/**", lambda route: route.fulfill(status=503, body=unready))
        visit.open()
        visit.says("The service is not ready")
        visit.answered(visit.page.unroute_all)  # by itself, at its next look
        expect(visit.at("#problem")).to_be_hidden()
