"""HTTP on one connection: uvicorn's protocol, whose trust in clients ends here.

What is added: heads are checked and bounded, offers to upgrade ignored, refusals reach clients that
still send, clients that close only their own side get their answer, and every phase of a connection
has an end.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import select
from collections.abc import Collection
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from spikeserve.service.context import NAME, known_id
from spikeserve.service.errors import (
    BadHttp,
    Crowded,
    HeadTimeout,
    HeadTooLarge,
    ServiceError,
    document,
)
from spikeserve.service.http.connections import Connections, Phase
from spikeserve.service.http.heads import (
    MAX_HEAD_BYTES,
    check_head,
    check_size,
    origin_form,
    without_offer,
)

MOST_PIPELINED = 100
MOST_OVERHEAD = 8
"""Bytes of chunk sizes a byte of body: chunks of a single byte need five."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HALF_CLOSED_S = 0.005
SECOND_LOOK_S, LAST_LOOK_S = 0.001, 0.1
"""After which it is looked for a reset again: at first soon, then after twice as long each time."""
STUCK_TIMES = 6
"""So many times the time that no byte is read, an answer may take altogether."""
PROBES = re.compile(rb"/(livez|readyz|healthz|metrics|v2/health/(live|ready))(\?.*)?")


class Polite:
    """A connection's transport as its answers see it: it closes when the client can have read."""

    def __init__(self, protocol: Protocol, transport: asyncio.Transport) -> None:
        self.close = protocol.close
        self.write = transport.write
        self.is_closing = transport.is_closing


class Protocol(HttpToolsProtocol):
    """One connection. ``since`` and ``phase`` are what :class:`Connections` judges by."""

    def __init__(self, rules: Connections, **named: Any) -> None:
        super().__init__(**named)
        self.since = 0.0
        self._rules = rules
        self._in_head = True
        """Whether what comes next is a head, or the rest of one."""
        self._half: Phase | None = None
        """What has come in part: a head or a body."""
        self._without_offer = b""
        self._segment = self._overhead = self._body_bytes = self._discarded = 0
        """Bytes: of the newest segment, of the newest request and what of it is body, and of what
        nobody wants."""
        self._refusal: ServiceError | None = None
        """To be told once everything before it is answered."""
        self._lingering = self._half_closed = self._surplus = False
        self._unsent, self._unsent_since, self._sending_since = 0, 0.0, 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._polite = Polite(self, transport)
        self.since = self.loop.time()
        self._surplus = not self._rules.admit(self._everybody, self.since)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    @property
    def gone(self) -> bool:
        """Whether it is closed but for the loop's next turn."""
        return self.transport.is_closing()

    @property
    def phase(self) -> Phase:
        if self._lingering or self.gone:
            return Phase.CLOSING
        if not self._answered:
            return Phase.ANSWER if self._in_head or self.pipeline else Phase.BODY
        if not self._in_head:
            return Phase.BODY
        half_a_head = self._half is Phase.HEAD
        return Phase.HEAD if half_a_head or self.cycle is None else Phase.IDLE

    @property
    def _answered(self) -> bool:
        """Whether no request waits for its answer."""
        return self.cycle is None or (self.cycle.response_complete and not self.pipeline)

    @property
    def _everybody(self) -> Collection[Protocol]:
        return self.connections  # type: ignore[return-value]

    # What arrives

    def data_received(self, data: bytes) -> None:
        self._segment = len(data)
        if self._lingering or self._refusal:
            self._discard(self._segment)
            return
        self._unset_keepalive_if_required()
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(
                cause if isinstance(cause, ServiceError) else BadHttp(f"this is not HTTP: {error}")
            )
            return
        self._overhead = max(0, self._overhead + self._segment)
        if self._overhead or not self._in_head:
            self._waits_for_more()
        else:
            self._half = None
        if len(self.pipeline) > MOST_PIPELINED:
            self.transport.close()  # it waits for no answer, and all that it sends is kept

    def _waits_for_more(self) -> None:
        half = Phase.HEAD if self._in_head else Phase.BODY
        if half is not self._half:
            self._half, self.since = half, self.loop.time()
        if self._overhead > MAX_HEAD_BYTES + MOST_OVERHEAD * self._body_bytes:
            self._refuse(HeadTooLarge("the head, trailers or chunk sizes are too large"))

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                # The parser leaves the body to whoever takes the offer. Nobody does.
                data = self._without_offer + data[offer.args[0] :]
                self._without_offer = b""
                self.parser = httptools.HttpRequestParser(self)

    def on_headers_complete(self) -> None:
        parser = self.parser
        version, method = parser.get_http_version(), parser.get_method()
        if self._overhead + self._segment > MAX_HEAD_BYTES:
            check_size(self.url, self.headers)
        check_head(version, method, self.headers)
        if parser.should_upgrade():
            self._without_offer = without_offer(version, method, self.url, self.headers)
            return
        if self.url[:1] != b"/":
            self.url = origin_form(self.url)
        if self._surplus and not PROBES.fullmatch(self.url):
            self._surplus = not self._rules.admit(self._everybody, self.loop.time(), self)
            if self._surplus:
                raise Crowded("too many connections; retry later")
        if version == "1.0":
            self.expect_100_continue = False  # its clients know no answer before the answer
        super().on_headers_complete()
        self.cycle.transport = self._polite  # type: ignore[assignment]
        self.headers = []  # trailers are read and dropped
        self._in_head = False

    def on_body(self, body: bytes) -> None:
        self._overhead -= len(body)
        self._body_bytes += len(body)
        if self.cycle.response_complete:
            self._discard(len(body))
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._without_offer:
            super().on_message_complete()
            self.cycle.more_body = False
            self._in_head = True
            self._overhead, self._body_bytes, self._discarded = -self._segment, 0, 0

    def eof_received(self) -> bool:  # type: ignore[override]
        """Whether the connection stays open: the client may have closed only its own side."""
        if self.phase is not Phase.ANSWER or not self._in_head:
            return False
        self._half_closed = True
        self.loop.call_later(HALF_CLOSED_S, self._probe)
        return True

    def _probe(self) -> None:
        """Who has closed both sides meets a byte with a reset. Any number of ``100 Continue`` may
        precede an answer, so one is a byte that says nothing."""
        cycle = self.cycle
        if not (self._answered or self._lingering or self.transport.is_closing()):
            if not (
                self.pipeline or cycle.response_started or cycle.scope["http_version"] == "1.0"
            ):
                self.transport.write(CONTINUE)
            self.loop.call_later(SECOND_LOOK_S, self._look_for_reset, SECOND_LOOK_S)

    def _look_for_reset(self, interval: float) -> None:
        if self._answered or self._lingering or self.transport.is_closing():
            return
        if _is_reset(self.transport):
            self.transport.abort()
        else:
            interval = min(2 * interval, LAST_LOOK_S)
            self.loop.call_later(interval, self._look_for_reset, interval)

    # What leaves

    def on_response_complete(self) -> None:
        self.since = self.loop.time()
        if self._lingering:
            self.server_state.total_requests += 1
            return
        last = not self.pipeline
        super().on_response_complete()
        if last and self._refusal:
            self._write_refusal(self._refusal)
        elif last and self._half_closed:
            self.transport.close()

    def close(self) -> None:
        """After the last answer: at once, or once the client has had time to read it."""
        if self._half_closed:
            self.transport.close()
        else:
            self._linger()

    def _linger(self) -> None:
        """Close this side only: while bytes are unread, a full close is a reset, and resets
        take answers along that the client has not read."""
        self._lingering = True
        self.since = self.loop.time()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > self._rules.limits.discarded_bytes:
            self.transport.abort()

    def _refuse(self, error: ServiceError) -> None:
        """Answer what cannot be read on, in its turn, and end the connection."""
        cycle = self.cycle
        if self._answered and self._in_head:
            self._write_refusal(error)
        elif self._in_head:
            self._refusal = error
        elif self.pipeline:  # its body is broken before it has begun
            self.pipeline.popleft()
            cycle.more_body = False
            self._in_head, self._refusal = True, error
        elif cycle.response_started:
            self.transport.close()
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            self._write_refusal(error)

    def _write_refusal(self, error: ServiceError) -> None:
        given = dict(self.scope["headers"] if self.scope else ()).get(NAME, b"")
        request_id = known_id(given.decode("latin-1"))
        body = json.dumps(document(error.status, str(error), request_id)).encode()
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (NAME, request_id.encode()),
            *((name.lower().encode(), value.encode()) for name, value in error.headers.items()),
            (b"connection", b"close"),
        ]
        lines = [b"%s: %s\r\n" % header for header in headers]
        self.transport.write(b"".join([STATUS_LINE[error.status], *lines, b"\r\n", body]))
        metrics = self._rules.metrics
        metrics.rejected.labels(error.reason).inc()
        metrics.answered("", "other", str(error.status), self.loop.time() - self.since)
        self._linger()

    # What takes too long

    def look(self, now: float) -> None:
        """End this connection if its phase has lasted too long."""
        if self._is_stuck(now):
            self.transport.abort()
            return
        phase = self.phase
        if now - self.since <= self._rules.limits.seconds.get(phase, math.inf):
            return
        if phase is self._half is Phase.HEAD:
            seconds = self._rules.limits.head_seconds
            self._refuse(HeadTimeout(f"the head was not complete after {seconds:g} s"))
        else:
            self.evict()

    def evict(self) -> None:
        """Give way."""
        if self.phase in (Phase.HEAD, Phase.IDLE):
            self.transport.close()
        else:
            self.transport.abort()

    def _is_stuck(self, now: float) -> bool:
        """Whether the client does not read, or hardly."""
        unsent, before = self.transport.get_write_buffer_size(), self._unsent
        self._unsent = unsent
        if not unsent:
            return False
        if not before:
            self._sending_since = now
        if unsent != before:
            self._unsent_since = now
        seconds = self._rules.limits.send_seconds
        return (
            now - self._unsent_since > seconds or now - self._sending_since > STUCK_TIMES * seconds
        )


def _is_reset(transport: asyncio.Transport) -> bool:
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), 0)  # told of errors and ends alone
    return bool(poll.poll(0))
