"""What one HTTP connection may cost: bytes, requests and time are bounded in every state that a client can put it in.

uvicorn's protocol limits none of them, and its parser has no limits either.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from lading.serve.http.cors import Cors
from lading.serve.http.errors import last_answer
from lading.serve.http.framing import (
    MAX_FIELDS,
    MAX_HEADERS,
    MAX_URL,
    NO_PATH,
    TOO_LARGE,
    TOO_MUCH_AHEAD,
    URL_TOO_LONG,
    Refusal,
    RefusedError,
    check_size,
)
from lading.serve.http.strict import StrictHttp
from lading.settings import Settings

MAX_HELD = 16_000_000
"""Bytes of requests that all connections together may have sent ahead of answers that are due."""
_SLICE = 4_096  # bytes that are parsed at once, unless they are all of one body
_TURN = 8 * _SLICE  # bytes that are parsed in one turn of the event loop
_CHUNK_COST = 24  # bytes that a chunk counts as, because each calls Python: chunks of one byte take milliseconds
_READ_AT_ONCE = 8  # connections that read a further piece of a large body in one turn
_FULL = 256_000  # bytes of uvloop's buffer: more may be waiting, and it would be read before any other connection
_CERTAIN = MAX_HEADERS - 2 * _SLICE  # so many bytes before the last piece are within the limit with it
_CHUNK_OVERHEAD = 20  # bytes of a chunk's size and line ends
IDLE, _HEADERS, _BODY = range(3)  # the part of a request that the client sends now


@dataclass(slots=True)
class Held:
    """What the connections of a process hold together."""

    size: int = 0
    """Bytes that have arrived and were not parsed."""
    paused: deque[BoundedHttp] = field(default_factory=deque)
    """Connections that have read one piece of a large body, and read the next one in their turn."""
    default_headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    heads: dict[int, bytes] = field(default_factory=dict)
    """What answers begin with, by status, as long as these are uvicorn's headers: it makes a new list each second."""

    def head(self, status: int, default_headers: list[tuple[bytes, bytes]]) -> bytes:
        """The status line and the headers that every answer has."""
        if default_headers is not self.default_headers:
            self.default_headers, self.heads = default_headers, {}
        head = self.heads.get(status)
        if head is None:
            lines = (name + b": " + value + b"\r\n" for name, value in default_headers)
            head = self.heads[status] = STATUS_LINE[status] + b"".join(lines)
        return head

    def read_later(self, connection: BoundedHttp) -> None:
        """Let a connection read on in a later turn of the event loop: a piece takes a quarter of a millisecond."""
        if not self.paused:
            connection.loop.call_soon(self._read_on)
        self.paused.append(connection)

    def _read_on(self) -> None:
        for _ in range(min(_READ_AT_ONCE, len(self.paused))):
            self.paused.popleft().read_on()
        if self.paused:
            self.paused[0].loop.call_soon(self._read_on)


class BoundedHttp(StrictHttp):
    """uvicorn's protocol with bounds.

    Each part of a request has a clock that starts with its first byte: headers, body, and unread answers. Between
    requests it is the keep-alive clock. So there is no state in which a silent or slow client holds a connection.

    What is parsed ahead of an answer that is due is bounded: the rest is held, and reading pauses.

    Args:
        settings: limits and timeouts.
        held: shared by all connections.
        cors: the pages of other origins that may read a refusal; ``None``: none.
        given, named: uvicorn's.
    """

    cycle: Any
    """The request that is answered now or was answered last; a subclass may put its own in."""
    _part = IDLE
    _clock: asyncio.TimerHandle | None = None
    """Of the part that the client sends now."""
    _unparsed = b""
    _header_bytes = 0
    """Received since the request began, without the piece that it began in."""
    _body_left = 0
    """Bytes of a declared body that are still to come, where known."""
    _payload = 0
    _chunks = 0
    _overhead = 0
    """Bytes of the body that are no payload."""
    _refusal: Refusal | None = None
    """Why nothing more is read: it is sent after the answers that are due."""

    def __init__(self, settings: Settings, held: Held, cors: Cors | None, *given: Any, **named: Any) -> None:
        super().__init__(settings, *given, **named)
        self._held = held
        self._cors = cors
        self.url, self.headers = b"", []
        self._max_body_bytes = settings.max_body_bytes
        self._header_timeout_s = settings.header_timeout_s
        self.timeout_keep_alive = settings.keep_alive_s

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._clock = self.loop.call_later(self._header_timeout_s, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._hold(b"")
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._ended or self._refusal is not None:
            self._drop(len(data))
        elif (len(data) <= _SLICE or len(data) <= self._body_left) and not self._unparsed:
            self._parse(data)
        else:
            self._hold(self._unparsed + data)
            self._parse_held()
        if len(data) >= _FULL and not self._raw.is_closing():
            self._raw.pause_reading()
            self._held.read_later(self)

    def read_on(self) -> None:
        """Read the next piece of a large body, once the other connections had their turn."""
        if not self._raw.is_closing() and (self._ended or not (self.flow.read_paused or self._unparsed)):
            self._raw.resume_reading()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._part = _HEADERS
        self._header_bytes = 0

    def on_headers_complete(self) -> None:
        if self._clock is not None:
            self._stop_clock()
        if self._header_bytes > _CERTAIN or len(self.url) > MAX_URL or len(self.headers) > MAX_FIELDS:
            check_size(self.url, self.headers)
        head = self._checked_head()
        if head is None:
            return
        version, named = head
        self._part = _BODY
        self._overhead = self._body_left = self._dropped = 0
        try:
            if self._short_way(version, named):
                return
            super().on_headers_complete()
        except httptools.HttpParserInvalidURLError:
            self._part = _HEADERS
            raise RefusedError(NO_PATH) from None
        length = named.get(b"content-length", b"")
        self.headers = []  # trailers come here: they are counted, and no app sees them
        if length.isdigit() and int(length) > self._max_body_bytes:
            self.cycle.keep_alive = False  # no one will accept it, and it takes too long to drop

    def on_chunk_header(self) -> None:
        """Count a chunk. Called by the parser."""
        self._chunks += 1

    def on_body(self, body: bytes) -> None:
        self._payload += len(body)
        if self.cycle.response_complete:
            self._dropped += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._upgrading:
            return
        self._message_ended()
        super().on_message_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._refusal is not None:
            self._refuse(*self._refusal)
        elif self._unparsed:
            self.loop.call_soon(self._parse_held)
        if self._write_clock is None and not self._ended and self._raw.get_write_buffer_size():
            self._watch_writing()

    def linger(self) -> None:
        if not self._ended:
            self._hold(b"")
            self._stop_clock()
            super().linger()

    @property
    def sending(self) -> bool:
        """The client is within a request, or has sent more than was parsed."""
        return self._part is not IDLE or bool(self._unparsed)

    @property
    def reading_may_resume(self) -> bool:
        return not self._unparsed

    @property
    def _owing(self) -> bool:
        """An answer is due."""
        return self.cycle is not None and not self.cycle.response_complete

    def _short_way(self, version: str, headers: dict[bytes, bytes]) -> bool:
        """Take the request that has just begun; False: it goes uvicorn's way."""
        raise NotImplementedError

    def _body_timeout(self) -> float:
        """Seconds that the body may take which arrives now."""
        # An app that reads it has a clock of its own, and answers.
        return self._body_timeout_s + self._linger_s * self._owing

    def _late(self) -> None:
        """The client was too slow with what it sends now."""
        self._clock = None
        if self._part is _HEADERS:
            sentence = f"the headers did not arrive within {self._header_timeout_s:.3g} s: send them at once"
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, sentence)
        else:
            self.close()

    def _parse(self, data: bytes) -> None:
        within = self._part is _BODY
        if within:
            self._payload = self._chunks = 0
        self._feed(data)
        if self._ended or self._refusal is not None:
            return
        if self._part is _BODY:
            if within and self._body_left <= 0:
                self._overhead = max(0, self._overhead + len(data) - self._payload - _CHUNK_OVERHEAD * self._chunks)
                if self._overhead > MAX_HEADERS:
                    self._refuse(*TOO_LARGE)
                elif self._dropped > self._max_body_bytes:
                    self.linger()
            if self._clock is None:
                self._clock = self.loop.call_later(self._body_timeout(), self._late)
        elif self._part is _HEADERS or (self.timeout_keep_alive_task is None and not self._owing):
            # Empty lines may come before a request. They count as its headers.
            self._header_bytes += len(data)
            if self._header_bytes > MAX_HEADERS or len(self.url) > MAX_URL or len(self.headers) > MAX_FIELDS:
                self._refuse(*(URL_TOO_LONG if len(self.url) > MAX_URL else TOO_LARGE))
            elif self._clock is None:
                self._clock = self.loop.call_later(self._header_timeout_s, self._late)

    def _parse_held(self) -> None:
        """Parse piece by piece, so that limits are checked early, and stop where answers are due."""
        data, at, turn = memoryview(self._unparsed), 0, 0
        while at < len(data) and not self._ended and self._refusal is None:
            answer_due = self._owing and self._part is not _BODY
            if answer_due or turn >= _TURN:
                self._raw.pause_reading()
                self._hold(bytes(data[at:]))
                if answer_due:
                    self._stop_clock()  # the client waits for the server
                    if self._held.size > MAX_HELD:
                        self._refuse(*TOO_MUCH_AHEAD)
                else:
                    self.loop.call_soon(self._parse_held)
                return
            end = at + max(_SLICE, self._body_left)
            self._parse(cast(bytes, data[at:end]))
            turn += _SLICE + _CHUNK_COST * self._chunks
            at = end
        self._hold(b"")
        if not self._ended and not self.flow.read_paused:
            self._raw.resume_reading()

    def _hold(self, unparsed: bytes) -> None:
        self._held.size += len(unparsed) - len(self._unparsed)
        self._unparsed = unparsed

    def _message_ended(self) -> None:
        self._part = IDLE
        self._stop_clock()

    def _refuse(self, status: HTTPStatus, sentence: str) -> None:
        """Answer what no app has seen, after the answers that are due, and end the connection."""
        self._refusal = (status, sentence)
        cycle: Any = self.cycle
        if self._owing and self._part is _BODY and not self.pipeline:
            # It is this request's own answer, whose app waits for the body.
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.linger()
                return
        elif self._owing:
            self._hold(b"")
            return
        if not (self._ended or (self._part is _BODY and cycle is not None and cycle.response_complete)):
            headers = self.server_state.default_headers
            if self._cors is not None:
                headers = [*headers, *self._cors.of_refusal((self.scope or {}).get("headers", ()))]
            self._raw.write(last_answer(status, sentence, headers))
        self.linger()

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None
