"""What a stream tells besides: what the network was shown at each timestep, and where it fired.

Computed by one thread for all streams, beside the engines: rows wait for none of it, and a stream
that has a deadline only until then.
"""

from __future__ import annotations

import asyncio
import base64
import math
import time
from concurrent.futures import Executor
from functools import partial
from typing import Any

from starlette.types import Receive

from spikeserve.models.encoding import Pixels
from spikeserve.models.program import Program
from spikeserve.models.spike_maps import Shown, SpikeMaps, drawn, memory, thinned
from spikeserve.service.attempts import attempted
from spikeserve.service.classification import Ticket
from spikeserve.service.errors import InvalidParameter
from spikeserve.service.presence import Alarm, while_present
from spikeserve.service.stream_schemas import InputMap, SpikeDetail, SpikeMap

MOST_BYTES = 256 << 20


def check_drawable(program: Program) -> None:
    """That a timestep may be computed a second time.

    Raises:
        InvalidParameter: it would take too much memory.
    """
    needed = memory(program)
    if needed > MOST_BYTES:
        raise InvalidParameter(
            f"detail=spikes would take {needed >> 20} MiB for this network, more than "
            f"{MOST_BYTES >> 20}; leave it out"
        )


class Details:
    """Those of one image, in the order of its timesteps."""

    def __init__(self, ticket: Ticket, thread: Executor, receive: Receive) -> None:
        manifest, row = ticket.model.manifest, ticket.job.row
        self._names = [lif.name for lif in manifest.network.lifs]
        self._maps = SpikeMaps(ticket.model.bundle.program, manifest.encoding, row.image)
        self._deadline = ticket.job.deadline
        self._thread = thread
        self._receive = receive
        self._done = 0

    async def of(self, t: int) -> SpikeDetail | None:
        """Timestep ``t``'s; None where it failed or the request's deadline has passed.

        Raises:
            ClientDisconnect: the client left.
        """
        if time.monotonic() >= self._deadline:
            return None
        computed = self._thread.submit(attempted, "spike maps", self._computed, t)
        waiting = asyncio.wrap_future(computed)
        limited = math.isfinite(self._deadline)
        alarm = Alarm(self._deadline, partial(_cancel, waiting)) if limited else None
        try:
            await while_present(waiting, self._receive)
        finally:
            computed.cancel()
            if alarm:
                alarm.cancel()
        return None if waiting.cancelled() else waiting.result()

    def _computed(self, t: int) -> SpikeDetail:
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


def _cancel(future: asyncio.Future[Any]) -> None:
    future.cancel()


def _base64(values: Pixels) -> str:
    return base64.b64encode(values.tobytes()).decode()
