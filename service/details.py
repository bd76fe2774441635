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
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

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

Drawn = Future[SpikeDetail | None]


class Drawing:
    """The thread that computes them, and what it may hold; it starts with the first image."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "drawing", _step_back)
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

        def submitted() -> Drawn:
            return self._thread.submit(attempted, "spike maps", call, t)

        return attempted("drawing", submitted) if self.open else None

    def close(self) -> None:
        """Streams go on without; what runs is left behind."""
        self.open = False
        self._thread.shutdown(wait=False, cancel_futures=True)


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
        computed = self._drawing.attempt(self._computed, t)
        if computed is None:
            return None
        waiting = asyncio.wrap_future(computed)
        alarm = Alarm(deadline, partial(_cancel, waiting)) if math.isfinite(deadline) else None
        try:
            await while_present(waiting, self._receive)
        finally:
            computed.cancel()
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


def _cancel(future: asyncio.Future[Any]) -> None:
    future.cancel()


def _base64(values: Pixels) -> str:
    return base64.b64encode(values.tobytes()).decode()
