"""Deadlines, departures and full queues while a body arrives and its image is decoded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from spikeserve.service.admission import LIGHT_BYTES
from spikeserve.service.errors import NotReady
from tests.processes import PATIENCE_SECONDS
from tests.service.asgi import (
    FORM,
    INFER,
    JSON,
    LARGE,
    Exchange,
    as_json,
    form,
    service,
    tensor,
    text,
    until,
)

LATE = {"deadline_ms": 20, "on_deadline": "best"}


@pytest.mark.parametrize(
    "exchange",
    [
        lambda: Exchange("/classify", b"half", query="deadline_ms=20", whole=False),
        lambda: Exchange("/classify/stream", b"half", query="deadline_ms=20", whole=False),
        lambda: Exchange(
            "/classify/batch", form(b"")[:9], query="deadline_ms=20", headers=FORM, whole=False
        ),
        lambda: Exchange(
            "/classify", form(b"")[:9], query="deadline_ms=20", headers=FORM, whole=False
        ),
        lambda: Exchange("/classify", b"{", query="deadline_ms=20", headers=JSON, whole=False),
        lambda: Exchange(
            "/classify", query="deadline_ms=20", headers={"Content-Length": "9"}, whole=False
        ),
    ],
)
def test_the_504_comes_while_the_body_is_still_arriving(
    bundle_folder: Path, exchange: Callable[[], Exchange]
) -> None:
    async def scene() -> None:
        async with service(bundle_folder) as (app, _):
            asked = await asyncio.wait_for(exchange().run(app), PATIENCE_SECONDS)
            assert asked.status == 504, asked.body
            assert app.state.admission.held_bytes == 0
            assert app.state.admission.idle

    asyncio.run(scene())


def test_giving_up_ends_uploads_with_503(bundle_folder: Path) -> None:
    async def scene() -> None:
        async with service(bundle_folder) as (app, _):
            halves = [
                Exchange("/classify", b"half", whole=False),
                Exchange("/classify/batch", form(b"")[:9], headers=FORM, whole=False),
                Exchange(INFER, b"{", whole=False),
            ]
            tasks = [asyncio.create_task(half.run(app)) for half in halves]
            await until(lambda: app.state.admission.uploading == len(halves))
            app.state.admission.give_up(NotReady("over"))
            await asyncio.gather(*tasks)
            assert [half.status for half in halves] == [503] * 3
            assert app.state.admission.idle

    asyncio.run(scene())


@pytest.mark.parametrize(
    "way",
    [
        lambda: Exchange("/classify", LARGE, query="deadline_ms=20"),
        lambda: as_json("/classify", {"inputs": text(LARGE), "parameters": LATE}),
        lambda: Exchange("/classify/stream", LARGE, query="deadline_ms=20"),
        lambda: as_json(
            "/classify/batch", {"items": [{"inputs": text(LARGE), "parameters": LATE}] * 3}
        ),
        lambda: as_json(INFER, tensor("BYTES", (1,), [text(LARGE)]) | {"parameters": LATE}),
    ],
    ids=["query", "json", "stream", "batch", "infer"],
)
def test_the_504_comes_while_the_image_is_being_decoded(
    bundle_folder: Path, stuck: threading.Event, way: Callable[[], Exchange]
) -> None:
    async def scene() -> None:
        async with service(bundle_folder, decode_threads=1) as (app, _):
            asked = await asyncio.wait_for(way().run(app), PATIENCE_SECONDS)
            if asked.path == "/classify/batch":
                assert [item["status"] for item in asked.json()["results"]] == [504] * 3
            else:
                assert asked.status == 504, asked.body
            assert app.state.admission.inside == 0
            running = len(app.state.decoders.queue.running)
            held = app.state.admission.held_bytes
            assert held == running * len(LARGE), "what a thread has counts until it is through"
            stuck.set()
            await until(lambda: not app.state.admission.held_bytes)

    asyncio.run(scene())


def test_clients_that_leave_their_decodes_are_counted(
    bundle_folder: Path, stuck: threading.Event
) -> None:
    async def scene() -> None:
        async with service(bundle_folder, decode_threads=1) as (app, _):
            asked = [Exchange("/classify", LARGE) for _ in range(5)]
            tasks = [asyncio.create_task(one.run(app)) for one in asked]
            await until(lambda: app.state.admission.inside == 5)
            for one in asked:
                one.leave()
            await asyncio.gather(*tasks)
            assert app.state.admission.inside == 0
            assert app.state.admission.held_bytes <= len(LARGE), "a running one's at most"
            metrics = app.state.metrics.registry
            name, tiny = "spikeserve_requests_cancelled_total", {"model": "tiny", "version": "1"}
            assert metrics.get_sample_value(name, tiny | {"phase": "decoding"}) == 5
            stuck.set()

    asyncio.run(scene())


def test_with_a_full_queue_large_images_are_refused_unread_and_small_ones_answered(
    bundle_folder: Path, stuck: threading.Event, png: bytes
) -> None:
    flags = {"decode_threads": 1, "decode_queue_seconds": 1e-9}

    async def scene() -> None:
        async with service(bundle_folder, **flags) as (app, released):
            released.set()
            queue, ask = app.state.decoders.queue, []
            for taken in (lambda: bool(queue.running), lambda: bool(queue.waiting)):
                ask.append(asyncio.create_task(Exchange("/classify", LARGE).run(app)))
                await until(taken)
            announced = {"Content-Length": str(LIGHT_BYTES + 1)}
            unread = Exchange("/classify", headers=announced, whole=False)
            chunked = Exchange("/classify", LARGE[: LIGHT_BYTES + 1], whole=False)
            infer = Exchange(
                INFER, headers=announced | {"Inference-Header-Content-Length": "0"}, whole=False
            )
            for exchange in (unread, chunked, infer):
                await asyncio.wait_for(exchange.run(app), PATIENCE_SECONDS)
                assert exchange.status == 429, exchange.body
            small = await Exchange("/classify", png).run(app)
            assert small.status == 200, small.body
            stuck.set()
            assert {exchange.status for exchange in await asyncio.gather(*ask)} == {200}

    asyncio.run(scene())
