"""A serving process's line to its supervisor: to be let in, to show life, to reload together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, MutableSequence, Sequence
from multiprocessing.connection import Connection
from socket import socket
from typing import Literal, NamedTuple

from spikeserve.models.errors import ModelError
from spikeserve.service.errors import ReloadRefused
from spikeserve.service.registry import Prepared, Registry

logger = logging.getLogger("spikeserve")

Said = Literal["loaded", "pong", "unwell", "reload", "prepared", "refused", "committed"]
"""By a process. With the identity of what it loaded or would serve, the models that are broken, or
why it refuses to reload."""
Order = Literal["serve", "ping", "prepare", "commit", "abort", "reloaded", "leave"]
"""By its supervisor; ``reloaded`` with why it was refused, if it was."""


class Place(NamedTuple):
    """What a supervisor gives a process."""

    connection: Connection
    listeners: Sequence[socket]
    crowds: MutableSequence[int]
    """Connections by process, in memory that all of them share."""
    number: int
    """Whose place in it is this process's."""


class Channel:
    """The end of it that lies in the serving process, for its event loop.

    Args:
        broken: names what does not work and never will again.
        leave: has this process finish and end, for the reason given.
    """

    def __init__(
        self,
        connection: Connection,
        registry: Registry,
        broken: Callable[[], Sequence[str]],
        leave: Callable[[str], None],
    ) -> None:
        self._connection, self._registry = connection, registry
        self._broken, self._leave = broken, leave
        self._prepared: Prepared | None = None
        self._unwell = False
        self._asked: list[asyncio.Future[str]] = []
        self._works: set[asyncio.Task[None]] = set()

    async def cleared(self) -> None:
        """Say what was loaded, and wait until the supervisor wants this process to serve it."""
        loop = asyncio.get_running_loop()
        self._clear: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._connection.fileno(), self._hear)
        self._say("loaded", self._registry.identity)
        await self._clear

    def look(self) -> None:
        """Say once if something is broken: nobody else can see it, and this process attracts
        requests, which it refuses faster than others answer them.
        """
        broken = self._broken()
        if broken and not self._unwell:
            self._say("unwell", ", ".join(broken))
        self._unwell = bool(broken)

    async def reload(self) -> None:
        """Have all processes reload, or none.

        Raises:
            ReloadRefused: by one of them; everything stays as it was.
        """
        outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._asked.append(outcome)
        self._say("reload")
        if refusal := await outcome:
            raise ReloadRefused(refusal)

    def answer_reloads(self, refusal: str) -> None:
        """Everybody who has asked for one so far; an empty refusal: it is done."""
        asked, self._asked = self._asked, []
        for outcome in asked:
            if not outcome.done():
                outcome.set_result(refusal)

    def _hear(self) -> None:
        try:
            while self._connection.poll():
                self._obey(*self._connection.recv())
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(self._connection.fileno())
            self._leave("the supervisor is gone")

    def _obey(self, order: Order, detail: str) -> None:
        match order:
            case "serve":
                self._clear.set_result(None)
            case "ping":
                self._say("pong")
            case "prepare":
                self._start(self._prepare)
            case "commit":
                self._start(self._commit)
            case "abort":
                self._prepared = None
            case "reloaded":
                self.answer_reloads(detail)
            case "leave":
                self._leave(detail)

    async def _prepare(self) -> None:
        try:
            self._prepared = await asyncio.to_thread(self._registry.prepare)
        except (ModelError, OSError) as error:
            self._say("refused", str(error))
        except Exception as error:  # no memory, say: others wait for an answer, whatever it is
            logger.exception("preparing a reload failed")
            self._say("refused", f"{type(error).__name__}: {error}")
        else:
            self._say("prepared", self._registry.identity_of(self._prepared))

    async def _commit(self) -> None:
        prepared, self._prepared = self._prepared, None
        assert prepared is not None
        try:
            await asyncio.to_thread(self._registry.commit, prepared)
        except Exception:  # the others have swapped: start again with what they serve
            logger.exception("a reload could not be finished here")
            self._leave("its reload failed half-way")
        else:
            self._say("committed")

    def _start(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        task = asyncio.get_running_loop().create_task(work())
        self._works.add(task)
        task.add_done_callback(self._works.discard)

    def _say(self, said: Said, detail: str = "") -> None:
        try:
            self._connection.send((said, detail))
        except OSError:
            logger.debug("nobody hears %r: the supervisor is gone", said)
