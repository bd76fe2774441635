"""The threads that decode: who waits for them, who leaves, and what is counted meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from math import inf

import numpy as np
import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from spikeserve.models.encoding import Pixels
from spikeserve.models.layers import Shape
from spikeserve.service.admission import Admission, File
from spikeserve.service.decoders import Decoders
from spikeserve.service.decoding import DecodeQueue
from spikeserve.service.errors import (
    DeadlineExceeded,
    InferenceFailed,
    NotReady,
    ServiceError,
    UnusableImage,
)
from spikeserve.service.images import Inspection
from tests.clock import Clock
from tests.processes import PATIENCE_SECONDS

SHAPE = (2, 2, 3)
LOOK = Inspection("PNG", 100, 100, 1000, 10_000, False)


class Slow:
    """A decoder that takes as long as a test wants; the file says what comes of it."""

    def __init__(self) -> None:
        self.began: list[bytes] = []
        self.entered, self.released = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, data: bytes, shape: Shape, _: int) -> Pixels:
        self.began.append(data)
        self.entered.release()
        self.released.acquire()
        if data.startswith(b"broken"):
            raise UnusableImage("broken")
        if data.startswith(b"large"):
            raise MemoryError
        if data.startswith(b"bug"):
            raise RuntimeError("nobody thought of this")
        return np.full(shape, len(data), np.uint8)


class Scene:
    """One decoder thread, and clients that stay or leave."""

    def __init__(self, decode: Slow) -> None:
        self.slow = decode
        self.admission = Admission(lambda: 9, 1 << 20, 1, lambda: None)
        self.queue = DecodeQueue(1, 100, 1500)
        self.decoders = Decoders(self.queue, 10_000, decode)
        self.decoders.start(asyncio.get_running_loop().call_soon_threadsafe)
        self.left = asyncio.Event()

    def file(self, data: bytes) -> File:
        return self.admission.file(data)

    async def ask(
        self, data: bytes, deadline: float = inf, left: asyncio.Event | None = None
    ) -> Pixels:
        """As a request does: whatever happens, it lets go of its file."""

        async def receive() -> Message:
            await (left or self.left).wait()
            return {"type": "http.disconnect"}

        file = self.file(data)
        try:
            return await self.decoders.decoded(file, LOOK, SHAPE, receive, deadline)
        finally:
            file.release()

    async def running(self) -> None:
        """Until the thread has begun to decode."""
        assert await asyncio.to_thread(self.slow.entered.acquire, True, PATIENCE_SECONDS)

    async def idle(self) -> None:
        """Until nothing is held any more."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.admission.held_bytes or self.queue.running:
                await asyncio.sleep(0.001)


Act = Callable[[Scene], Awaitable[None]]


def play(act: Act) -> None:
    """Run an act with decoders that end with it."""
    slow = Slow()

    async def scene() -> None:
        there = Scene(slow)
        try:
            await act(there)
        finally:
            there.decoders.close()
            slow.released.release(99)

    asyncio.run(scene())


def test_an_image_is_decoded_and_its_file_let_go_of() -> None:
    async def act(scene: Scene) -> None:
        asked = asyncio.create_task(scene.ask(b"123"))
        await scene.running()
        assert scene.admission.held_bytes == 3
        scene.slow.released.release()
        assert (await asked == 3).all()
        assert scene.admission.held_bytes == scene.queue.running_bytes == 0

    play(act)


def test_the_504_comes_at_the_deadline_while_the_decode_runs_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr("spikeserve.service.decoders.time", clock)
    monkeypatch.setattr("spikeserve.service.presence.time", clock)

    async def act(scene: Scene) -> None:
        late = asyncio.create_task(scene.ask(b"1234", deadline=clock.now + 0.001))
        await scene.running()
        for _ in range(5):
            await asyncio.sleep(0.002)  # an alarm that rings too early waits again
            assert not late.done()
        clock.advance(0.001)
        with pytest.raises(DeadlineExceeded):
            await late
        assert scene.admission.held_bytes == 4, "a decode that runs counts until it has ended"
        assert scene.queue.running_bytes == LOOK.memory_bytes
        scene.slow.released.release()
        await scene.idle()

    play(act)


def test_who_is_overdue_or_has_left_is_never_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("spikeserve.service.decoders.time", clock)
    monkeypatch.setattr("spikeserve.service.presence.time", clock)

    async def act(scene: Scene) -> None:
        first = asyncio.create_task(scene.ask(b"first"))
        await scene.running()
        left = asyncio.Event()
        late = asyncio.create_task(scene.ask(b"late", deadline=clock.now + 1e-6))
        leaving = asyncio.create_task(scene.ask(b"leaving", left=left))
        last = asyncio.create_task(scene.ask(b"last"))
        await asyncio.sleep(0)
        assert len(scene.queue.waiting) == 3
        left.set()
        clock.advance(1)
        with pytest.raises(ClientDisconnect):
            await leaving
        with pytest.raises(DeadlineExceeded):
            await late
        assert scene.admission.held_bytes == len(b"first" + b"last"), "both are free at once"
        scene.slow.released.release(2)
        await asyncio.gather(first, last)
        assert scene.slow.began == [b"first", b"last"]

    play(act)


def test_a_client_that_leaves_a_running_decode_frees_it_at_its_end() -> None:
    async def act(scene: Scene) -> None:
        left = asyncio.Event()
        leaving = asyncio.create_task(scene.ask(b"12345", left=left))
        await scene.running()
        left.set()
        with pytest.raises(ClientDisconnect):
            await leaving
        assert scene.admission.held_bytes == 5
        scene.slow.released.release()
        await scene.idle()

    play(act)


def test_whatever_a_file_does_its_thread_goes_on() -> None:
    faults: dict[bytes, type[ServiceError]] = {
        b"broken": UnusableImage,
        b"large": NotReady,
        b"bug": InferenceFailed,
    }

    async def act(scene: Scene) -> None:
        scene.slow.released.release(len(faults) + 1)
        for data, error in faults.items():
            with pytest.raises(error) as met:
                await scene.ask(data)
            frames = [frame.name for frame in met.traceback]
            assert "__call__" not in frames, "the decoder's frames would keep the file"
        assert (await scene.ask(b"good") == 4).all()
        await scene.idle()

    play(act)


def test_giving_up_answers_everybody_and_admits_nobody() -> None:
    async def act(scene: Scene) -> None:
        asked = [asyncio.create_task(scene.ask(b"12")) for _ in range(3)]
        await scene.running()
        scene.decoders.give_up(NotReady("over"))
        for one in asked:
            with pytest.raises(NotReady, match="over"):
                await one
        with pytest.raises(NotReady, match="shutting down"):
            await scene.ask(b"more")
        assert scene.admission.held_bytes == 2, "the running one's"
        scene.slow.released.release()
        await scene.idle()
        assert scene.slow.began == [b"12"]

    play(act)


def test_closing_finishes_what_waits() -> None:
    async def act(scene: Scene) -> None:
        asked = [asyncio.create_task(scene.ask(b"1")) for _ in range(3)]
        await scene.running()
        scene.decoders.close()
        scene.slow.released.release(3)
        assert len(await asyncio.gather(*asked)) == 3

    play(act)
