"""uvicorn's protocol with a short way for inference: no ASGI, no task, and overload refused before a body is read.

uvicorn's cycle, its task and ASGI's messages take twice as long as a small model's run, and are most of what a refusal
costs. So a plain ``POST`` to an inference path is handed to its endpoint when its headers and then its body have been
read, and its answer is written in one piece. Whatever is unusual goes uvicorn's way to the same endpoint.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any, ClassVar, TypeAlias, cast

import httptools

from lading.protocol.codec import Encoded
from lading.serve.call import Call
from lading.serve.engine.pieces import Pieces
from lading.serve.http.body import late_body
from lading.serve.http.bounded import IDLE, BoundedHttp, Held
from lading.serve.http.connections import RESERVE, full, most_connections, probes_only
from lading.serve.http.cors import Cors
from lading.serve.http.endpoint import HttpOutcome, InferenceEndpoint
from lading.serve.http.errors import error_answer
from lading.settings import Settings

EndpointAt: TypeAlias = Callable[[str], InferenceEndpoint | None]
STOP_S = 1.0
"""How long a kept connection stays open while the server stops: a request that is under way would be reset."""
_ANSWERED: Any = SimpleNamespace(response_complete=True, message_event=asyncio.Event())
"""Stands for the last request of a connection: uvicorn drops what still comes of one that has been answered."""


class _Due:
    """Stands where uvicorn keeps the request that it answers, with the attributes that uvicorn reads."""

    __slots__ = ("body", "call", "disconnected", "keep_alive", "response_complete")
    message_event: ClassVar[asyncio.Event] = asyncio.Event()

    def __init__(self, call: Call[bytes, Encoded]) -> None:
        self.call = call
        self.body: bytes | Pieces | None = None
        """What has arrived of it; usually it arrives in one piece."""
        self.keep_alive = True
        self.response_complete = self.disconnected = False

    def add(self, part: bytes) -> None:
        """Keep a further part of the body."""
        if not isinstance(self.body, Pieces):
            first, self.body = self.body, Pieces()
            self.body.add(first or b"")
        self.body.add(part)


class LeanHttp(BoundedHttp):
    """Answers inference requests by itself, and the rest as uvicorn does.

    A request that is refused by its headers is answered before its body has been read. The body is dropped as it
    arrives, for as long as a body may take, and then the connection is used again.

    Handled by uvicorn: another answer is due first, ``Expect``, HTTP/1.0, ``connection: close``, a body of unknown
    length, and a client that does not read its answers.

    The number of connections is bounded. One too many gets 503, probes excepted. When the server stops, a kept
    connection is answered once more, with ``connection: close``, if it is used soon.

    Args:
        settings: limits and timeouts.
        held: shared by all connections.
        cors: the pages of other origins that may read answers; ``None``: none.
        endpoint_at: finds the endpoint of a path.
        max_connections: that are open at once.
        given, named: uvicorn's.
    """

    _due: _Due | None = None
    """The request that is to be answered without uvicorn."""
    _reading = False
    """Its body is still to come."""
    _dropping = False
    """The rest of a request that was refused is still to come."""
    _stopping = False
    _crowded = False
    """It is beyond the limit of connections."""

    def __init__(
        self,
        settings: Settings,
        held: Held,
        cors: Cors | None,
        endpoint_at: EndpointAt,
        max_connections: int,
        *given: Any,
        **named: Any,
    ) -> None:
        super().__init__(settings, held, cors, *given, **named)
        self._endpoint_at = endpoint_at
        self._max_connections = max_connections

    @classmethod
    def of(cls, settings: Settings, endpoint_at: EndpointAt) -> type[asyncio.Protocol]:
        """What uvicorn calls for each connection, with the limits of the settings and the endpoints of an app."""
        cors = Cors(settings.cors_origins) if settings.cors_origins else None
        made = partial(cls, settings, Held(), cors, endpoint_at, most_connections(settings.max_connections))
        return cast("type[asyncio.Protocol]", made)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        beyond = len(self.connections) - self._max_connections
        if beyond > 0:
            self.app = probes_only(self.app)
            self._crowded = True
        if self._cors is not None:
            self.app = self._cors.around(self.app)
        if beyond > RESERVE:
            transport.write(full(self._cors))
            transport.close()
            return

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self._stopping and self._owing:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        if self._reading:
            assert self._due is not None
            self._body_left -= len(body)
            if self._due.body is None:
                self._due.body = body
            else:
                self._due.add(body)
        elif self._dropping:
            self._body_left -= len(body)
        else:
            super().on_body(body)

    def _parse(self, data: bytes) -> None:
        if not self._body_left:
            super()._parse(data)
            return
        size = min(len(data), self._body_left)
        # The parser would copy what it has nothing to find in. It has seen the headers alone, so another one follows.
        if self._dropping:
            self._body_left -= size
        else:
            self.on_body(bytes(data[:size]))
        if not self._body_left:
            self._renew_parser()
            self.on_message_complete()
            if len(data) > size:
                super()._parse(data[size:])

    def on_message_complete(self) -> None:
        if self._reading:
            assert self._due is not None
            self._reading = False
            self._part = IDLE
            if self._clock is not None:
                self._stop_clock()
            body, self._due.body = self._due.body or b"", None
            self._due.call.submit(body, body.size if isinstance(body, Pieces) else len(body))
        elif self._dropping:
            self._dropping = False
            self._message_ended()
            self.on_response_complete()  # counts it, and waits for the next one
        else:
            super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._dropping = self._reading = False
        super().connection_lost(exc)
        if self._due is not None:
            due, self._due = self._due, None
            due.call.leave()

    def shutdown(self) -> None:
        """Let answers be finished, and close a connection on which none is due a moment later."""
        self._stopping = True
        if self._idle:
            self.loop.call_later(STOP_S, self._close_idle)
        else:
            super().shutdown()

    @property
    def _idle(self) -> bool:
        return not self.sending and not self._owing

    def _close_idle(self, look_again: bool = True) -> None:
        if not self._idle or self.transport.is_closing():
            return
        if look_again:
            # A busy loop may not have read what has arrived. Another turn of it has.
            self.loop.call_later(0.05, self._close_idle, False)
        else:
            self.transport.close()

    def _short_way(self, version: str, headers: dict[bytes, bytes]) -> bool:
        cycle = self.cycle
        if (
            (cycle is not None and not cycle.response_complete)
            or self.expect_100_continue
            or self._stopping
            or self.flow.write_paused
            or self._ended
            or self._raw.is_closing()
        ):
            return False
        parser = self.parser
        if version != "1.1" or parser.get_method() != b"POST":
            return False
        if not parser.should_keep_alive() or self._crowded:
            return False
        path, query = _split(self.url)
        endpoint = self._endpoint_at(path)
        if endpoint is None:
            return False
        scope: Any = self.scope
        scope["method"], scope["path"], scope["query_string"] = "POST", path, query
        call = endpoint.short_call(scope, headers, self._reply)
        if call is None:
            return False
        self._body_left = call.request.size
        if call.open():
            self._due = _Due(call)
            self.cycle = self._due
            self._reading = True
        else:
            self.cycle, self._dropping = _ANSWERED, True
        return True

    def _reply(self, outcome: HttpOutcome) -> int:
        headers, body = outcome.answer or error_answer(outcome)
        headers = [*headers, *outcome.ids, (b"content-length", b"%d" % len(body))]
        due, self._due = self._due, None
        if due is None:  # refused by its headers; the body is still to come
            self.transport.write(self._whole(outcome.status, headers, body))
            return len(body)
        if self.cycle is due:
            self.cycle = _ANSWERED  # so that an idle connection does not keep what it last asked
        if not (self._ended or self._raw.is_closing()):
            if self._reading:  # late; the header says that the connection ends
                due.keep_alive = False
            elif not due.keep_alive:
                headers.append((b"connection", b"close"))
            self._raw.write(self._whole(outcome.status, headers, body))
            if not due.keep_alive:
                self.transport.close()
        self._reading = False
        self.on_response_complete()
        return len(body)

    def _whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
        parts = [self._held.head(status, self.server_state.default_headers)]
        for name, value in headers:
            parts += name, b": ", value, b"\r\n"
        parts += b"\r\n", body
        return b"".join(parts)

    def _body_timeout(self) -> float:
        if self._reading:
            assert self._due is not None
            return min(self._body_timeout_s, self._due.call.deadline - time.perf_counter())
        return super()._body_timeout()

    def _late(self) -> None:
        if self._reading:
            assert self._due is not None
            self._clock = None
            call = self._due.call
            call.done(late_body(min(self._body_timeout_s, call.deadline - call.request.begin)))
        else:
            super()._late()


@lru_cache(256)
def _split(url: bytes) -> tuple[str, bytes]:
    """Path and query of a request's target; an empty path for one that has to be unquoted first."""
    parsed = httptools.parse_url(url)
    path = parsed.path or b""
    return "" if b"%" in path else path.decode("ascii"), parsed.query or b""
