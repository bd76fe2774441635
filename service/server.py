"""One serving process: uvicorn with a drain that tells load balancers first and loses nobody."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
import time
from collections.abc import Collection, MutableSequence, Sequence
from functools import partial
from types import FrameType
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from uvicorn.config import LOGGING_CONFIG

from spikeserve.models.errors import ModelError
from spikeserve.service.app import create_app
from spikeserve.service.attempts import attempted
from spikeserve.service.errors import NotReady
from spikeserve.service.http.connections import KEEP_ALIVE_S, Connections, Limits, most_connections
from spikeserve.service.http.protocol import Protocol
from spikeserve.service.memory import return_large_blocks
from spikeserve.service.processes.channel import Channel, Place
from spikeserve.service.processes.door import ABSENT, Door
from spikeserve.service.processes.listeners import addresses, listeners
from spikeserve.service.processes.signals import before_serving, leave_at_once, remembered
from spikeserve.service.routes.health import broken_parts
from spikeserve.service.settings import Settings

logger = logging.getLogger("spikeserve")

LAST_CALL_S = 0.5  # for requests on connections that were accepted just before a process leaves
LAST_WORDS_S = 2  # for answers that are on their way when the drain's time is up
POLL_S = 0.005
SWITCH_S = 0.0005
GC_THRESHOLDS = (20_000, 20, 20)
"""Requests free their objects by themselves; looking for cycles after every few of them finds
none and costs a few hundredths of the whole."""
LEAST_DISCARDED = 64 << 20
"""Bytes of a body whose request is refused already: so many are read, or two largest bodies."""
ECHO_S = 1.0
"""A signal to the whole group reaches one of several processes twice: by the supervisor too."""


class Server(uvicorn.Server):
    """Drains on the first SIGTERM or SIGINT, leaves at the second, reloads on SIGHUP.

    Args:
        place: where it belongs among the processes of a supervisor.
    """

    def __init__(self, app: FastAPI, settings: Settings, place: Place | None = None) -> None:
        self._connections = Connections(_limits(settings), app.state.metrics)
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                log_config=logging_config(settings),
                log_level=settings.log_level,
                access_log=settings.log_level == "debug",
                proxy_headers=False,  # nothing here asks where a request came from
                http=cast(Any, partial(Protocol, self._connections)),
                ws="none",
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=LAST_WORDS_S,
            )
        )
        self.interrupted_by = 0
        self._app = app
        self._settings = settings
        self._place = place
        self._channel: Channel | None = None
        self._door: Door | None = None
        self._draining_since = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        # Everything loaded so far stays: a full collection would walk all of it, for a pause
        # of tens of milliseconds in the middle of requests, and find nothing.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        self._start(lambda: self._connections.watch(self._protocols))
        if self._place is None:
            await super().startup([] if sockets else None)
            if sockets:
                # uvloop would take one connection a turn, and probes wait while bodies arrive.
                self._door = self._new_door(sockets, [ABSENT], 0)
            self._loop.add_signal_handler(signal.SIGHUP, self._start, self._reload)
            remembered()
            return
        registry = self._app.state.registry
        self._channel = Channel(self._place.connection, registry, self._broken, self._leave)
        self._app.state.reload = self._channel.reload
        await self._channel.cleared()
        await super().startup([])
        place = self._place
        self._door = self._new_door(place.listeners, place.crowds, place.number)

    def _new_door(
        self, listeners: Sequence[socket.socket], crowds: MutableSequence[int], number: int
    ) -> Door:
        def crowd() -> int:
            return len(self.server_state.connections)

        return Door(listeners, crowds, number, crowd, self._new_protocol)

    async def on_tick(self, counter: int) -> bool:
        if self._door and self._channel:
            self._door.count()
            self._channel.look()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._door:
            self._door.close()
        await super().shutdown(sockets)

    def _new_protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            _loop=self._loop,
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        now = time.monotonic()
        if self._loop is None or not self.started:
            leave_at_once()
        elif not self._draining_since:
            self._draining_since = now
            self._loop.call_soon_threadsafe(
                self._start, self._drain, self._settings.drain_delay_seconds
            )
        elif self._place is None or now - self._draining_since > ECHO_S:
            self.interrupted_by = sig
            self.should_exit = self.force_exit = True

    @property
    def _protocols(self) -> Collection[Protocol]:
        return self.server_state.connections  # type: ignore[return-value]

    def _broken(self) -> list[str]:
        return broken_parts(self._app.state)

    def _leave(self, why: str) -> None:
        """Stop without a signal: the others stay, so new connections are theirs at once."""
        logger.error("this process leaves: %s", why)
        if not self.started:
            leave_at_once()
        self._app.state.admission.closing = f"this process leaves: {why}; ask again"
        if self._door:
            self._door.close()
        for connection in list(self._protocols):
            if connection.cycle:  # who has only just come is answered first
                connection.shutdown()
        if not self._draining_since:
            self._draining_since = time.monotonic()
            self._start(self._drain, LAST_CALL_S)

    def _start(self, work, *arguments) -> None:  # type: ignore[no-untyped-def]
        task = asyncio.get_running_loop().create_task(work(*arguments))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drain(self, delay: float = 0.0) -> None:
        """Whatever a drain meets, the process ends."""
        try:
            await self._finish(delay)
        finally:
            self.should_exit = True

    async def _finish(self, delay: float) -> None:
        """Unready at once, then no admission, then wait for the requests inside."""
        state = self._app.state
        state.ready = False
        attempted("counting", state.metrics.ready.set, 0)
        await asyncio.sleep(delay)
        state.admission.open = False
        deadline = time.monotonic() + self._settings.drain_seconds
        while not state.admission.idle and time.monotonic() < deadline:
            await asyncio.sleep(POLL_S)
        if not state.admission.idle:
            logger.error(
                "%d images and %d uploads were under way after %d s", state.admission.inside,
                state.admission.uploading, self._settings.drain_seconds,
            )  # fmt: skip
            stopped = NotReady("the service stopped before this was done")
            attempted("giving up", state.admission.give_up, stopped)
            attempted("giving up", state.decoders.give_up, stopped)
            attempted("giving up", state.drawing.close)
            for model in state.registry:
                attempted("giving up", model.worker.give_up, stopped)
            await asyncio.sleep(POLL_S)  # their answers leave
        if self._channel:  # a supervisor that is gone, or waits for others, would not say it
            self._channel.answer_reloads("this process stopped before it was done")

    async def _reload(self) -> None:
        try:
            await asyncio.to_thread(self._app.state.registry.reload)
        except (ModelError, OSError) as error:
            logger.error("reload refused, everything stays as it was: %s", error)
        except Exception:  # a fault of ours; the next signal finds us serving
            logger.exception("a reload failed")


def _limits(settings: Settings) -> Limits:
    return Limits(
        body_seconds=settings.body_timeout_seconds,
        send_seconds=settings.send_timeout_seconds,
        discarded_bytes=max(LEAST_DISCARDED, 2 * settings.max_body_bytes),
        most=most_connections(settings.max_connections),
    )


def logging_config(settings: Settings) -> dict[str, Any]:
    """uvicorn's logging, with ours beside it."""
    ours = {"handlers": ["default"], "level": settings.log_level.upper(), "propagate": False}
    loggers = {**LOGGING_CONFIG["loggers"], logger.name: ours}
    return {**LOGGING_CONFIG, "loggers": loggers}


def serve(settings: Settings, place: Place | None = None) -> int:
    """Serve until told to stop; returns the exit status.

    Raises:
        ModelError: a bundle or engine is refused.
        OSError: the port or unix socket cannot be had.
    """
    # A worker whose timestep is done waits for the event loop to let go of the interpreter: by
    # default up to 5 ms, which is many timesteps.
    sys.setswitchinterval(SWITCH_S)
    return_large_blocks()
    if place:
        server = Server(create_app(settings), settings, place)
        server.run()
    else:
        with before_serving():
            server = Server(create_app(settings), settings)
            with listeners(settings) as sockets:
                logger.info("loading, to serve on %s", addresses(settings, sockets))
                server.run(sockets)
    if not server.started:
        return 3  # uvicorn has logged why
    if server.interrupted_by:
        print("spikeserve: left before all requests were answered", file=sys.stderr)
        return 128 + server.interrupted_by
    return 0
