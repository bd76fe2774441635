"""Details of a stream: whom they wait for, who leaves, what they may hold."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from spikeserve.models.bundle import Bundle
from spikeserve.models.encoding import Pixels
from spikeserve.models.spike_maps import Shown, SpikeMaps, state_memory, step_memory
from spikeserve.service.app import create_app
from spikeserve.service.details import Drawing
from spikeserve.service.errors import InvalidParameter, QueueFull
from spikeserve.service.settings import Settings
from tests.programs import TIMESTEPS, save_tiny_bundle
from tests.service.asgi import Exchange, until
from tests.service.openinference import INFER, as_json, assert_error

QUERY = "entropy_threshold=0&detail=spikes"
NAMES = ["timestep"] * TIMESTEPS + ["result"]


class Gate:
    """Spike maps that wait before each timestep until they are let through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.arrived = 0
        self.open = threading.Semaphore(0)
        step = SpikeMaps.step

        def waits(maps: SpikeMaps) -> Shown:
            self.arrived += 1
            self.open.acquire()
            return step(maps)

        monkeypatch.setattr(SpikeMaps, "step", waits)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.open.release(1000)


def events(body: bytes) -> list[tuple[str, dict[str, Any]]]:
    blocks = [block.split("\n") for block in body.decode().strip().split("\n\n")]
    return [
        (name.removeprefix("event: "), json.loads(data.removeprefix("data: ")))
        for name, data in blocks
    ]


def test_a_client_that_leaves_takes_its_details_along(
    bundle_folder: Path, png: bytes, gate: Gate
) -> None:
    async def scene() -> None:
        app = create_app(Settings(bundles=(bundle_folder,)))
        async with app.router.lifespan_context(app):
            leaving, staying = (Exchange("/classify/stream", png, query=QUERY) for _ in range(2))
            first = asyncio.create_task(leaving.run(app))
            await until(lambda: gate.arrived == 1)
            second = asyncio.create_task(staying.run(app))
            await until(lambda: app.state.admission.inside == 2)
            leaving.leave()
            await first
            assert app.state.admission.inside == 1
            gate.open.release(1 + TIMESTEPS)
            await second
            assert [name for name, _ in events(staying.body)] == NAMES
            assert gate.arrived == 1 + TIMESTEPS, "nobody looks at what the first one had ahead"

    asyncio.run(scene())


def test_other_requests_do_not_wait_for_details(
    bundle_folder: Path, png: bytes, gate: Gate
) -> None:
    async def scene() -> None:
        app = create_app(Settings(bundles=(bundle_folder,)))
        async with app.router.lifespan_context(app):
            streams = [Exchange("/classify/stream", png, query=QUERY) for _ in range(8)]
            tasks = [asyncio.create_task(stream.run(app)) for stream in streams]
            await until(lambda: gate.arrived == 1)
            alone = [Exchange(path, png) for path in ("/classify", "/classify/stream")]
            await asyncio.gather(*(one.run(app) for one in alone))
            assert [one.status for one in alone] == [200, 200]
            assert gate.arrived == 1, "one at a time"
            gate.open.release(8 * TIMESTEPS)
            await asyncio.gather(*tasks)

    asyncio.run(scene())


def test_at_the_end_of_a_drain_streams_are_answered_without(
    bundle_folder: Path, png: bytes, gate: Gate
) -> None:
    async def scene() -> None:
        app = create_app(Settings(bundles=(bundle_folder,)))
        async with app.router.lifespan_context(app):
            streams = [Exchange("/classify/stream", png, query=QUERY) for _ in range(3)]
            tasks = [asyncio.create_task(stream.run(app)) for stream in streams]
            await until(lambda: app.state.admission.inside == 3 and gate.arrived == 1)
            app.state.drawing.close()
            await asyncio.gather(*tasks)  # what runs cannot be stopped, nobody waits for it
            for stream in streams:
                assert [name for name, _ in events(stream.body)] == NAMES
                assert events(stream.body)[-2][1]["detail"] is None

    asyncio.run(scene())


def test_no_process_waits_for_a_timestep_that_hangs(
    bundle_folder: Path, png: bytes, gate: Gate
) -> None:
    async def scene() -> None:
        app = create_app(Settings(bundles=(bundle_folder,)))
        async with app.router.lifespan_context(app):
            task = asyncio.create_task(Exchange("/classify/stream", png, query=QUERY).run(app))
            await until(lambda: gate.arrived == 1)
            busy = [thread for thread in threading.enumerate() if thread.name == "drawing"]
            app.state.drawing.close()
            await task
            assert busy
            assert all(thread.daemon for thread in busy)

    asyncio.run(scene())


def test_a_model_that_is_replaced_is_drawn_to_the_end(
    tmp_path: Path, png: bytes, gate: Gate
) -> None:
    folder = save_tiny_bundle(tmp_path / "tiny")

    async def scene() -> None:
        app = create_app(Settings(bundles=(folder,)))
        async with app.router.lifespan_context(app):
            stream = Exchange("/classify/stream", png, query=QUERY)
            task = asyncio.create_task(stream.run(app))
            await until(lambda: gate.arrived == 1)
            before = app.state.registry.get()
            save_tiny_bundle(folder, seed=1)
            await app.state.reload()
            assert app.state.registry.get() is not before
            gate.open.release(TIMESTEPS)
            await task
            *steps, (last, _) = events(stream.body)
            assert last == "result"
            total = 0
            for _, step in steps:
                total += sum(layer["spikes"] for layer in step["detail"]["layers"])
                assert total == step["spikes"]

    asyncio.run(scene())


def test_a_timestep_that_fails_costs_no_other(
    client: TestClient, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, calls = SpikeMaps.step, []

    def fails_once(maps: SpikeMaps) -> Shown:
        calls.append(maps)
        if len(calls) == 2:
            raise MemoryError
        return step(maps)

    whole = client.post(f"/classify/stream?{QUERY}", content=png).content
    monkeypatch.setattr(SpikeMaps, "step", fails_once)
    partly = client.post(f"/classify/stream?{QUERY}", content=png).content
    for (name, one), (_, other) in zip(events(partly), events(whole), strict=True):
        if name == "timestep":
            assert one["detail"] == (None if one["t"] == 2 else other["detail"])


def test_without_a_thread_streams_go_on(
    bundle_folder: Path, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def no_thread(thread: threading.Thread) -> None:
        if thread.name == "drawing":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    with TestClient(create_app(Settings(bundles=(bundle_folder,)))) as client:
        found = events(client.post(f"/classify/stream?{QUERY}", content=png).content)
        assert [name for name, _ in found] == NAMES
        assert not any(step["detail"] for _, step in found[:-1])


def test_who_wants_none_starts_no_thread(bundle_folder: Path, png: bytes) -> None:
    def drawing() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name.startswith("drawing")}

    with TestClient(create_app(Settings(bundles=(bundle_folder,)))) as client:
        others = drawing()
        assert client.post("/classify/stream", content=png).status_code == 200
        assert not drawing() - others
        client.post(f"/classify/stream?{QUERY}", content=png)
        assert len(drawing() - others) == 1


def test_images_that_are_drawn_keep_a_bounded_amount(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, drawing = bundle.manifest.network, Drawing()
    step, state = step_memory(network), state_memory(network)
    monkeypatch.setattr("spikeserve.service.details.MOST_BYTES", step)
    with ExitStack() as streams:
        for _ in range(step // state):
            streams.enter_context(drawing.room(network))
        with pytest.raises(QueueFull, match="leave it out"), drawing.room(network):
            pass
    with drawing.room(network):
        pass
    monkeypatch.setattr("spikeserve.service.details.MOST_BYTES", step - 1)
    with pytest.raises(InvalidParameter, match="MiB"), drawing.room(network):
        pass


def batch(png: bytes, own: bool) -> dict[str, Any]:
    item = {"inputs": base64.b64encode(png).decode()}
    detail = {"parameters": {"detail": "spikes"}}
    return {"items": [item | detail]} if own else {"items": [item]} | detail


@pytest.mark.parametrize("parameters", [{}, {"detail": "none"}], ids=["spikes", "none"])
def test_batches_and_v2_have_no_details(
    client: TestClient, png: bytes, images: Pixels, parameters: dict[str, str]
) -> None:
    detail = {"detail": "spikes"} | parameters
    asked: Callable[..., Any] = client.post
    shared = asked("/classify/batch", json=batch(png, own=False) | {"parameters": detail})
    assert shared.status_code == 422
    own = asked("/classify/batch", json=batch(png, own=True)).json()
    assert own["results"][0]["status"] == 422
    tensors = as_json(images[:1], "UINT8", parameters=detail)
    assert "detail" in assert_error(asked(INFER, json=tensors), 422)
    tensors = as_json(images[:1], "UINT8")
    assert_error(asked(f"{INFER}?detail={detail['detail']}", json=tensors), 422)


@pytest.mark.parametrize("detail", ["", "maps", "SPIKES", "true"])
def test_other_details_are_refused(client: TestClient, png: bytes, detail: str) -> None:
    response = client.post(f"/classify/stream?detail={detail}", content=png)
    assert response.status_code == 422
    assert "detail" in response.json()["detail"]
