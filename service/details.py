"""What a stream tells besides: what the network was shown at each timestep, and where it fired.

Computed by one thread for all streams, beside the engines: rows wait for none of it, and a stream
that has a deadline only until then.
"""

from __future__ import annotations

import asyncio
import base64
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from queue import SimpleQueue

from starlette.types import Receive

from spikeserve.models.encoding import Pixels
from spikeserve.models.network import Network
from spikeserve.models.spike_maps import (
    Shown,
    SpikeMaps,
    drawn,
    state_memory,
    step_memory,
    thinned,
)
from spikeserve.service.attempts import attempted
from spikeserve.service.classification import Ticket
from spikeserve.service.errors import InvalidParameter, QueueFull
from spikeserve.service.presence import Alarm, while_present
from spikeserve.service.stream_schemas import InputMap, SpikeDetail, SpikeMap

MOST_BYTES = 256 << 20
"""That one timestep may take, and that all images may keep between theirs."""
NICENESS = 10
"""A tenth of a core's time where an engine wants all of it."""

Drawn = asyncio.Future[SpikeDetail | None]
Call = tuple[Future[SpikeDetail | None], Callable[[int], SpikeDetail], int]


class Drawing:
    """The thread that computes them, and what it may hold; it starts with the first image.

    A daemon, so that a process that has to end does not wait for a step that hangs.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._awaited: set[Drawn] = set()
        self._kept = 0
        self.open = True

    @contextmanager
    def room(self, network: Network) -> Iterator[None]:
        """To be entered while an image is drawn.

        Raises:
            InvalidParameter: a timestep would take too much memory.
            QueueFull: with all the others it would keep too much.
        """
        needed, kept = step_memory(network), state_memory(network)
        if needed > MOST_BYTES:
            raise InvalidParameter(
                f"detail=spikes would take {needed >> 20} MiB for this network, more than "
                f"{MOST_BYTES >> 20}; leave it out"
            )
        if self._kept + kept > MOST_BYTES:
            raise QueueFull("too many streams have detail=spikes; leave it out, or retry later")
        self._kept += kept
        try:
            yield
        finally:
            self._kept -= kept

    def attempt(self, call: Callable[[int], SpikeDetail], t: int) -> Drawn | None:
        """Have the thread call, after those who came before; None where there is no thread."""
        return attempted("drawing", self._submitted, call, t) if self.open else None

    def close(self) -> None:
        """Streams go on without, at once; what runs is left behind."""
        self.open = False
        self._calls.put(None)
        for awaited in tuple(self._awaited):
            awaited.cancel()

    def _submitted(self, call: Callable[[int], SpikeDetail], t: int) -> Drawn:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="drawing", daemon=True)
            thread.start()
            self._thread = thread
        computed: Future[SpikeDetail | None] = Future()
        awaited = asyncio.wrap_future(computed)
        self._awaited.add(awaited)
        awaited.add_done_callback(self._awaited.discard)
        self._calls.put((computed, call, t))
        return awaited

    def _run(self) -> None:
        _step_back()
        while (waiting := self._calls.get()) is not None:
            computed, call, t = waiting
            if computed.set_running_or_notify_cancel():
                computed.set_result(attempted("spike maps", call, t))
            del waiting, computed, call  # the next may be long in coming


class Details:
    """Those of one image, in the order of its timesteps."""

    def __init__(self, ticket: Ticket, drawing: Drawing, receive: Receive) -> None:
        self._names = [lif.name for lif in ticket.model.manifest.network.lifs]
        self._ticket = ticket
        self._drawing = drawing
        self._receive = receive
        self._maps: SpikeMaps | None = None
        self._done = 0

    async def of(self, t: int) -> SpikeDetail | None:
        """Timestep ``t``'s; None where it failed, or the request's deadline or a drain came first.

        Raises:
            ClientDisconnect: the client left.
        """
        deadline = self._ticket.job.deadline
        if time.monotonic() >= deadline:
            return None
        waiting = self._drawing.attempt(self._computed, t)
        if waiting is None:
            return None
        alarm = Alarm(deadline, waiting.cancel) if math.isfinite(deadline) else None
        try:
            await while_present(waiting, self._receive)
        finally:
            waiting.cancel()
            if alarm:
                alarm.cancel()
        return None if waiting.cancelled() else waiting.result()

    def _computed(self, t: int) -> SpikeDetail:
        if self._maps is None:
            model, image = self._ticket.model, self._ticket.job.row.image
            self._maps = SpikeMaps(model.bundle.program, model.manifest.encoding, image)
        while self._done < t:
            shown = self._maps.step()
            self._done += 1
        return self._told(shown)

    def _told(self, shown: Shown) -> SpikeDetail:
        frame = thinned(shown.frame)
        return SpikeDetail(
            input=InputMap(shape=frame.shape, pixels=_base64(frame)),
            layers=[
                SpikeMap(
                    name=name,
                    channels=spikes.shape[2],
                    spikes=int(spikes.sum()),
                    shape=(cells := drawn(spikes)).shape,
                    map=_base64(cells),
                )
                for name, spikes in zip(self._names, shown.spikes, strict=True)
            ],
        )


def _step_back() -> None:
    """Engines go first where cores are busy; only on Linux has a thread a priority of its own."""
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox may refuse
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def _base64(values: Pixels) -> str:
    return base64.b64encode(values.tobytes()).decode()
