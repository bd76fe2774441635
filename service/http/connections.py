"""How many connections there may be, and how long each may take over what it is at.

A connection costs memory and a file, and who holds one open need not say anything. So each phase
of one has an end, and where there are too many those that only wait give way, the oldest first.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from heapq import nsmallest
from typing import Protocol

from spikeserve.service.attempts import attempted
from spikeserve.service.metrics import Metrics

KEEP_ALIVE_S = 75
"""Longer than a proxy's, so that it never reuses a closing socket."""
MOST, RESERVE = 4096, 32
"""The reserve is for probes alone, and for telling others that there is no room."""
OTHER_FILES = 64
"""Open files of a process that are no connections."""
SHARE_EVICTED = 16
"""One of so many gives way at once: looking for the oldest costs time for each of them."""
MOST_FILES = 1 << 16


class Phase(IntEnum):
    """What a connection is at. The first to give way comes first."""

    HEAD = 0
    """Nothing yet, or half a head."""
    IDLE = 1
    """Kept alive between two requests."""
    CLOSING = 2
    """The last answer is on its way; the rest of its request is read and dropped."""
    BODY = 3
    """Half a body, or the rest of one whose answer is given."""
    ANSWER = 4
    """A request is inside: it is never interrupted for others."""


@dataclass(frozen=True)
class Limits:
    """Seconds and bytes for every phase of a connection, and how many there may be."""

    most: int
    body_seconds: float
    send_seconds: float
    """As long a client may read nothing of an answer."""
    discarded_bytes: int
    """The rest of a body whose request is answered already."""
    reserve: int = RESERVE
    head_seconds: float = 10.0
    idle_seconds: float = KEEP_ALIVE_S
    linger_seconds: float = 10.0
    young_seconds: float = 1.0
    """Who has only just come may be about to speak."""
    look_seconds: float = 1.0

    @cached_property
    def seconds(self) -> dict[Phase, float]:
        """How long each phase may last. An answer has its own rules: those of whoever gives it."""
        return {
            Phase.HEAD: self.head_seconds,
            Phase.IDLE: self.idle_seconds,
            Phase.CLOSING: self.linger_seconds,
            Phase.BODY: self.body_seconds + 1,  # whoever reads it has answered 408 before
        }


class Connection(Protocol):
    """What is asked of a connection here."""

    since: float
    """When its phase began, on the loop's clock."""

    @property
    def gone(self) -> bool: ...
    @property
    def phase(self) -> Phase: ...
    def look(self, now: float) -> None: ...
    def evict(self) -> None: ...


class Connections:
    """The rules, and the look at all connections once a second."""

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self.limits = limits
        self.metrics = metrics

    def admit(
        self,
        connections: Collection[Connection],
        now: float,
        speaker: Connection | None = None,
    ) -> bool:
        """Make room for a newcomer, which is among ``connections`` already.

        False where there is none: then it may be a probe. Where the reserve is used up as well, it
        gives way itself. A ``speaker`` has sent a whole head: for it, those give way too that have
        only just come.
        """
        limits = self.limits
        if len(connections) <= limits.most:
            return True
        still = [one for one in connections if not one.gone]
        excess = len(still) - limits.most
        if excess <= 0:
            return True
        urgent = speaker is not None or excess > limits.reserve
        youngest = now if urgent else now - limits.young_seconds
        waiting = [
            one
            for one in still
            if one.phase < Phase.ANSWER and one.since <= youngest and one is not speaker
        ]
        number = max(excess, limits.most // SHARE_EVICTED)

        def turn(one: Connection) -> tuple[bool, int, float]:
            """Of those who have only just come nobody can say what they are at."""
            young = one.since > now - limits.young_seconds
            return young, 0 if young else one.phase, one.since

        evicted = nsmallest(number, waiting, key=turn)
        for one in evicted:
            one.evict()
        return len(evicted) >= excess

    async def watch(self, connections: Collection[Connection]) -> None:
        """End what takes too long, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.limits.look_seconds)
            attempted("counting", self.metrics.connections.set, len(connections))
            for one in list(connections):
                attempted("looking at a connection", one.look, loop.time())


def most_connections(wanted: int) -> int:
    """As many as are wanted (0: ``MOST``) and the limit of open files has room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
        soft = enough
    room = MOST_FILES if soft == resource.RLIM_INFINITY else soft
    return max(1, min(wanted or MOST, room - OTHER_FILES - RESERVE))
