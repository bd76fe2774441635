"""Several versions at once, and bundles replaced while requests run."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from spikeserve.models.bundle import load_bundle, save_manifest
from spikeserve.service.app import create_app
from spikeserve.service.classification import Classifier, Ticket
from spikeserve.service.errors import InferenceFailed
from spikeserve.service.keys import key_hash
from spikeserve.service.settings import Settings
from tests.load.servers import Service, served
from tests.processes import wait_until
from tests.programs import save_tiny_bundle
from tests.service.openinference import INFER, Images, as_json, expected, outputs

ADMIN = {"Authorization": "Bearer operator"}


def save_version(folder: Path, version: str, seed: int) -> Path:
    save_tiny_bundle(folder, "tiny", seed)
    manifest = load_bundle(folder).manifest
    save_manifest(folder, manifest.model_copy(update={"version": version}))
    return folder


def test_two_versions_side_by_side(tmp_path: Path, png: bytes) -> None:
    folders = tuple(save_version(tmp_path / v, v, seed) for seed, v in enumerate(("1", "2")))
    with TestClient(create_app(Settings(bundles=folders))) as client:
        for version in ("1", "2"):
            answer = client.post(f"/classify?version={version}", content=png).json()
            assert answer["model"]["version"] == version
            manifest = client.get(f"/v1/models/tiny?version={version}").json()
            assert manifest["version"] == version
        assert client.post("/classify", content=png).json()["model"]["version"] == "1"
        assert client.post("/classify?version=3", content=png).status_code == 404
        lines = client.get("/metrics").text
        for version, count in (("1", 2), ("2", 1)):
            series = "spikeserve_inference_timesteps_count"
            assert f'{series}{{model="tiny",version="{version}"}} {count}.0' in lines


def test_reload_swaps_all_or_nothing_and_no_request_is_lost(tmp_path: Path, png: bytes) -> None:
    folder = save_version(tmp_path / "tiny", "1", 0)
    settings = Settings(bundles=(folder,), admin_key_hash=key_hash("operator"))
    app = create_app(settings)
    with TestClient(app) as client:
        assert client.post("/v1/admin/reload").status_code == 401
        untouched = app.state.registry.get()
        assert client.post("/v1/admin/reload", headers=ADMIN).status_code == 200
        assert app.state.registry.get() is untouched

        (folder / "step.onnx").write_bytes(b"damaged")
        refused = client.post("/v1/admin/reload", headers=ADMIN)
        # The manifest has not changed, so neither has the model that is served.
        assert refused.status_code == 200
        save_version(folder, "2", 1)
        (folder / "step.onnx").write_bytes(b"damaged")
        refused = client.post("/v1/admin/reload", headers=ADMIN)
        assert refused.status_code == 409
        assert "step.onnx" in refused.json()["detail"]
        assert client.post("/classify", content=png).json()["model"]["version"] == "1"

        save_version(folder, "2", 1)
        stop, statuses = threading.Event(), []

        def ask() -> None:
            while not stop.is_set():
                statuses.append(client.post("/classify", content=png).status_code)

        clients = [threading.Thread(target=ask) for _ in range(4)]
        for thread in clients:
            thread.start()
        reloaded = client.post("/v1/admin/reload", headers=ADMIN)
        stop.set()
        for thread in clients:
            thread.join()
        assert reloaded.json()["models"][0]["version"] == "2"
        assert set(statuses) <= {200}
        assert client.post("/classify", content=png).json()["model"]["version"] == "2"


@pytest.mark.parametrize("datatype", ["BYTES", "UINT8"])
def test_a_batch_that_a_reload_meets_is_finished_by_the_model_it_began_with(
    tmp_path: Path, images: Images, monkeypatch: pytest.MonkeyPatch, datatype: str
) -> None:
    folder = save_version(tmp_path / "tiny", "1", 0)
    app, few, submit = (
        create_app(Settings(bundles=(folder,), slots=2)),
        images[:4],
        Classifier.submit,
    )
    registry = app.state.registry
    reload = threading.Thread(target=registry.reload)

    async def submit_during_a_reload(*asked: Any, **more: Any) -> Ticket:
        ticket = await submit(*asked, **more)
        await ticket.future  # so that its worker has nothing left to do
        if not reload.ident:
            save_version(folder, "2", 2)
            reload.start()
            while registry.get().version == "1":
                await asyncio.sleep(0.001)
        return ticket

    with TestClient(app) as client:
        of_the_old = expected(client, few)
        monkeypatch.setattr(Classifier, "submit", submit_during_a_reload)
        answer = client.post(INFER, json=as_json(few, datatype))
        assert (answer.json()["model_version"], outputs(answer)) == ("1", of_the_old)
        reload.join()
        assert client.post(INFER, json=as_json(few, datatype)).json()["model_version"] == "2"
        assert app.state.admission.inside == 0


def test_batches_go_on_while_models_are_replaced(tmp_path: Path, images: Images) -> None:
    folder = save_version(tmp_path / "tiny", "0", 0)
    app = create_app(Settings(bundles=(folder,), slots=2))
    document, statuses, stop = as_json(images[:8], "UINT8"), list[int](), threading.Event()

    def ask(client: TestClient) -> None:
        while not stop.is_set():
            statuses.append(client.post(INFER, json=document).status_code)

    with TestClient(app) as client:
        clients = [threading.Thread(target=ask, args=(client,)) for _ in range(3)]
        for thread in clients:
            thread.start()
        for version in range(1, 6):
            save_version(folder, str(version), version)
            app.state.registry.reload()
        stop.set()
        for thread in clients:
            thread.join()
    assert set(statuses) == {200}


def test_a_refused_reload_leaves_no_series(tmp_path: Path) -> None:
    good, bad = save_version(tmp_path / "a", "1", 0), save_version(tmp_path / "b", "b", 1)
    settings = Settings(bundles=(good, bad), admin_key_hash=key_hash("operator"))
    with TestClient(create_app(settings)) as client:
        save_version(good, "2", 2)
        save_version(bad, "c", 3)
        (bad / "step.onnx").write_bytes(b"damaged")
        assert client.post("/v1/admin/reload", headers=ADMIN).status_code == 409
        assert 'version="2"' not in client.get("/metrics").text
        assert {m["version"] for m in client.get("/readyz").json()["models"]} == {"1", "b"}


def test_admin_routes_do_not_exist_without_a_key(client: TestClient) -> None:
    assert client.post("/v1/admin/reload", headers=ADMIN).status_code == 404


def test_a_reload_replaces_a_model_whose_engine_hangs(tmp_path: Path, png: bytes) -> None:
    folder = save_version(tmp_path / "tiny", "1", 0)
    app = create_app(Settings(bundles=(folder,), admin_key_hash=key_hash("operator")))
    with TestClient(app) as client:
        app.state.registry.get().worker.give_up(InferenceFailed("it hangs"))
        refused = client.post("/classify", content=png)
        assert (refused.status_code, "hangs" in refused.json()["detail"]) == (503, True)
        assert "tiny" in client.get("/v2/health/ready").text
        assert client.post("/v1/admin/reload", headers=ADMIN).status_code == 200
        assert client.post("/classify", content=png).status_code == 200


def test_under_another_supervisor_nobody_is_signalled(
    bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parent may be a shell, for which SIGHUP is the end."""
    monkeypatch.setattr(os, "kill", None)
    settings = Settings(bundles=(bundle_folder,), workers=2, admin_key_hash=key_hash("operator"))
    with TestClient(create_app(settings)) as client:
        assert client.post("/v1/admin/reload", headers=ADMIN).status_code == 200


def test_several_processes_reload_together(tmp_path: Path, png: bytes) -> None:
    folder = save_version(tmp_path / "tiny", "1", 0)
    flags = ("--engine", "reference", "--slots", "4", "--workers", "2")
    with served(folder, tmp_path, *flags, "--admin-key-hash", key_hash("operator")) as service:
        service.process.send_signal(signal.SIGHUP)  # the second process may not be there yet
        save_version(folder, "2", 1)
        assert reloaded(service).status_code == 200
        assert versions(service, png) == {"2"}
        save_version(folder, "3", 2)
        (folder / "step.onnx").write_bytes(b"damaged")
        refused = reloaded(service)
        assert (refused.status_code, "step.onnx" in refused.json()["detail"]) == (409, True)
        assert versions(service, png) == {"2"}
        save_version(folder, "3", 2)
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: versions(service, png) == {"3"}, "SIGHUP reloaded nothing")


def reloaded(service: Service) -> httpx.Response:
    return service.client.post("/v1/admin/reload", headers=ADMIN, timeout=60)


def versions(service: Service, png: bytes) -> set[str]:
    """Of all processes: connections of their own are shared out."""
    base = service.client.base_url
    with httpx.Client(trust_env=False) as a, httpx.Client(trust_env=False) as b:
        answers = [client.post(f"{base}/classify", content=png) for client in (a, b) * 4]
    return {answer.json()["model"]["version"] for answer in answers}
