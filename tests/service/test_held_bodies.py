"""Bodies are counted from their first byte until they are decoded, and gone from then on."""

from __future__ import annotations

import asyncio
import json
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.processes import PATIENCE_SECONDS
from tests.programs import IMAGE_SHAPE
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

IMAGES = 6


def padded_pixels() -> Exchange:
    """A few pixels in half a megabyte of JSON."""
    size = int(np.prod(IMAGE_SHAPE))
    head = tensor("UINT8", (1, *IMAGE_SHAPE), [])
    del head["inputs"][0]["data"]
    head["inputs"][0]["parameters"] = {"binary_data_size": size}
    before = json.dumps(head).encode() + b" " * 500_000
    length = {"Inference-Header-Content-Length": str(len(before))}
    return Exchange(INFER, before + bytes(size), headers=length)


WAYS: dict[str, Callable[[], Exchange]] = {
    "raw": lambda: Exchange("/classify", LARGE),
    "raw in pieces": lambda: Exchange("/classify", LARGE[:9], LARGE[9:99999], LARGE[99999:]),
    "form": lambda: Exchange("/classify", form(LARGE), headers=FORM),
    "json": lambda: as_json("/classify", {"inputs": text(LARGE)}),
    "stream": lambda: Exchange("/classify/stream", LARGE),
    "batch form": lambda: Exchange("/classify/batch", form(LARGE, LARGE), headers=FORM),
    "batch json": lambda: as_json("/classify/batch", {"items": [{"inputs": text(LARGE)}] * 2}),
    "infer json": lambda: as_json(INFER, tensor("BYTES", (2,), [text(LARGE)] * 2)),
    "infer file": lambda: Exchange(INFER, LARGE, headers={"Inference-Header-Content-Length": "0"}),
    "infer pixels": padded_pixels,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_waits_for_the_engine_holds_no_file(
    bundle_folder: Path, way: Callable[[], Exchange]
) -> None:
    async def scene() -> None:
        async with service(bundle_folder) as (app, released):
            admission, scheduler = app.state.admission, app.state.registry.get().worker.scheduler

            def submitted() -> int:
                return len(scheduler.waiting) + len(scheduler.running)

            first = asyncio.create_task(way().run(app))  # imports and caches are not its body
            await until(lambda: submitted() > 0 and not admission.held_bytes)
            tracemalloc.start()
            tasks = [asyncio.create_task(way().run(app)) for _ in range(IMAGES)]
            each = submitted()
            await until(lambda: submitted() >= each * IMAGES and not admission.held_bytes)
            held = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
            released.set()
            for exchange in await asyncio.gather(first, *tasks):
                assert exchange.status == 200, exchange.body
            assert held < len(LARGE), "less than one file of many"

    asyncio.run(scene())


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_refused_request_holds_nothing(bundle_folder: Path, way: Callable[[], Exchange]) -> None:
    """Refused when its body is complete: there are no places any more."""

    async def scene() -> None:
        async with service(bundle_folder) as (app, _):
            admission = app.state.admission
            upload = admission.upload
            app.state.admission.inside = admission.inside + 10_000
            admission.upload = lambda *given: _without_check(admission, upload, *given)
            exchange = await way().run(app)
            assert exchange.status == 429, exchange.body
            assert admission.held_bytes == 0
            assert not admission.uploads

    def _without_check(admission: Any, upload: Any, *given: Any) -> Any:
        admission.inside -= 10_000
        try:
            return upload(*given)
        finally:
            admission.inside += 10_000

    asyncio.run(scene())


def test_a_form_goes_to_no_disk(bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be none: containers with a read-only root have no place for temporary files."""

    def refused(*_: object, **__: object) -> None:
        raise OSError("read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refused)

    async def scene() -> None:
        async with service(bundle_folder) as (app, released):
            released.set()
            pieces = form(LARGE + bytes(3 << 20))
            chunks = [pieces[start : start + 99_999] for start in range(0, len(pieces), 99_999)]
            sent = await Exchange("/classify", *chunks, headers=FORM).run(app)
            assert sent.status == 200, sent.body

    asyncio.run(scene())


def test_an_id_that_would_stay_until_the_answer_is_bounded(bundle_folder: Path, png: bytes) -> None:
    async def scene() -> None:
        async with service(bundle_folder) as (app, released):
            released.set()
            asked = tensor("BYTES", (1,), [text(png)])
            assert (await as_json(INFER, asked | {"id": "x" * 1000}).run(app)).status == 200
            assert (await as_json(INFER, asked | {"id": "x" * 5000}).run(app)).status == 400

    asyncio.run(scene())


def test_held_files_count_for_the_common_bound_and_lock_out_nobody_small(
    bundle_folder: Path, stuck: threading.Event, png: bytes
) -> None:
    limit = {"max_total_upload_bytes": len(LARGE) + 1000, "decode_threads": 1}

    async def scene() -> None:
        async with service(bundle_folder, **limit) as (app, released):
            released.set()
            first = asyncio.create_task(Exchange("/classify", LARGE).run(app))
            await until(lambda: app.state.admission.inside == 1)
            second = await Exchange("/classify", LARGE).run(app)
            assert second.status == 429, second.body
            assert (await Exchange("/classify", png).run(app)).status == 200
            stuck.set()
            assert (await first).status == 200
            assert (await Exchange("/classify", LARGE).run(app)).status == 200

    asyncio.run(scene())


@pytest.mark.parametrize("path", ["/classify", "/classify/batch", INFER])
def test_an_announced_giant_is_refused_unread(bundle_folder: Path, path: str) -> None:
    async def scene() -> None:
        async with service(bundle_folder) as (app, _):
            giant = Exchange(
                path, headers={"Content-Length": "999000000", **(JSON if path else {})}, whole=False
            )
            await asyncio.wait_for(giant.run(app), PATIENCE_SECONDS)
            assert giant.status == 413, giant.body

    asyncio.run(scene())
