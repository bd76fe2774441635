"""A service that wants a key: it is asked for, used, and kept nowhere."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from spikeserve.service.keys import key_hash
from tests.load.servers import served
from tests.page.conftest import Visitor
from tests.page.visits import Visit

KEY = "a-key-of-a-friend"
KEPT = "JSON.stringify([{...localStorage}, {...sessionStorage}, history.state, location.href])"


def test_a_key_is_asked_for_used_and_kept_nowhere(
    bundle_folder: Path, tmp_path: Path, visitor: Visitor
) -> None:
    with served(bundle_folder, tmp_path, "--api-key-hashes", key_hash(KEY)) as service:
        visit = visitor(service)
        visit.refusals_expected = True
        visit.open()
        visit.says("This service wants an API key")
        field = visit.page.get_by_label("API key")
        expect(field).to_be_focused()
        visit.page.keyboard.type("none of its keys")
        visit.page.keyboard.press("Enter")
        visit.says("This service wants an API key")
        field.fill("")
        visit.page.keyboard.type(KEY)
        visit.answered(lambda: visit.page.keyboard.press("Enter"))
        expect(visit.at("#problem")).to_be_hidden()
        _assert_kept_nowhere(visit)
        visit.page.reload()
        visit.says("This service wants an API key")
    (log,) = tmp_path.glob("*.log")
    assert KEY not in log.read_text()


def _assert_kept_nowhere(visit: Visit) -> None:
    assert KEY not in visit.page.evaluate(KEPT)
    assert not visit.page.context.cookies()
    assert not [request.url for request in visit.requests if KEY in request.url]
    for name in ("curl", "Python"):
        visit.page.get_by_role("button", name=f"Copy as {name}").click()
        expect(visit.at("#snippet")).to_contain_text("SPIKESERVE_API_KEY")
        expect(visit.at("#snippet")).not_to_contain_text(KEY)
    assert KEY not in visit.page.content()
