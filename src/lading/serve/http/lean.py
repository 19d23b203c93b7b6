"""uvicorn's protocol with a short way for inference: no ASGI, no task, and overload refused before a body is read.

uvicorn's cycle, its task and ASGI's messages take twice as long as a small model's run, and are most of what a refusal
costs. So a plain ``POST`` to an inference path is handed to its endpoint when its headers and then its body have been
read, and its answer is written in one piece. Whatever is unusual goes uvicorn's way to the same endpoint.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any, ClassVar, TypeAlias, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from lading.protocol.codec import Encoded
from lading.serve.call import Call
from lading.serve.http.body import late_body
from lading.serve.http.connections import FULL, RESERVE, most_connections, probes_only
from lading.serve.http.endpoint import HttpOutcome, InferenceEndpoint
from lading.serve.http.errors import error_answer
from lading.settings import Settings

EndpointAt: TypeAlias = Callable[[str], InferenceEndpoint | None]
LINGER_S = 1.0
"""How long a kept connection stays open while the server stops: a request that is under way would be reset."""
_ANSWERED: Any = SimpleNamespace(response_complete=True, message_event=asyncio.Event())
"""Stands for the last request of a connection: uvicorn drops what still comes of one that has been answered."""


class _Due:
    """Stands where uvicorn keeps the request that it answers, with the attributes that uvicorn reads."""

    __slots__ = ("call", "disconnected", "keep_alive", "parts", "response_complete")
    message_event: ClassVar[asyncio.Event] = asyncio.Event()

    def __init__(self, call: Call[bytes, Encoded]) -> None:
        self.call = call
        self.parts: list[bytes] = []
        """Of its body."""
        self.keep_alive = True
        self.response_complete = self.disconnected = False


class LeanHttp(HttpToolsProtocol):
    """Answers inference requests by itself, and the rest as uvicorn does.

    A request that is refused by its headers is answered before its body has been read. The body is dropped as it
    arrives, for as long as a body may take, and then the connection is used again.

    Handled by uvicorn: another answer is due first, ``Expect``, HTTP/1.0, ``connection: close``, upgrades, a body of
    unknown length, and a client that does not read its answers.

    Connections are bounded. One too many gets 503, probes excepted. One whose headers do not arrive in time is closed.
    When the server stops, a kept connection is answered once more, with ``connection: close``, if it is used soon.

    Args:
        settings: limits and timeouts.
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
    _body_due: asyncio.TimerHandle | None = None
    _headers_due: asyncio.TimerHandle | None = None
    _in_headers = False
    _stopping = False

    def __init__(
        self,
        settings: Settings,
        endpoint_at: EndpointAt,
        max_connections: int,
        *given: Any,
        **named: Any,
    ) -> None:
        super().__init__(*given, **named)
        self._endpoint_at = endpoint_at
        self._max_connections = max_connections
        self._header_timeout_s = settings.header_timeout_s
        self._body_timeout_s = settings.body_timeout_s
        self.timeout_keep_alive = settings.keep_alive_s

    @classmethod
    def of(cls, settings: Settings, endpoint_at: EndpointAt) -> type[asyncio.Protocol]:
        """What uvicorn calls for each connection, with the limits of the settings and the endpoints of an app."""
        made = partial(cls, settings, endpoint_at, most_connections(settings.max_connections))
        return cast("type[asyncio.Protocol]", made)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        beyond = len(self.connections) - self._max_connections
        if beyond > 0:
            self.app = probes_only(self.app)
        if beyond > RESERVE:
            transport.write(FULL)
            transport.close()
            return
        self._wait_for_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Most requests arrive in one piece, and need no timer.
        if self._in_headers and self._headers_due is None:
            self._wait_for_headers()
        if (self._dropping or self._reading) and self._body_due is None:
            self._body_due = self.loop.call_later(self._body_timeout_s, self._late_body)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers = True

    def on_headers_complete(self) -> None:
        self._in_headers = False
        if self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None
        if not (self._usual() and self._opened()):
            super().on_headers_complete()
            if self._stopping:
                self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        if self._reading:
            assert self._due is not None
            self._due.parts.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._reading:
            assert self._due is not None
            self._reading = False
            self._forget_body()
            parts = self._due.parts
            body = parts[0] if len(parts) == 1 else b"".join(parts)
            self._due.call.submit(body, len(body))
        elif self._dropping:
            self._dropping = False
            self._forget_body()
            self.on_response_complete()  # counts it, and waits for the next one
        else:
            super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._dropping = self._reading = False
        self._forget_body()
        if self._headers_due is not None:
            self._headers_due.cancel()
        super().connection_lost(exc)
        if self._due is not None:
            due, self._due = self._due, None
            due.call.leave()

    def shutdown(self) -> None:
        """Let answers be finished, and close a connection on which none is due a moment later."""
        self._stopping = True
        if self._idle:
            self.loop.call_later(LINGER_S, self._close_idle)
        else:
            super().shutdown()

    @property
    def _idle(self) -> bool:
        return not self._in_headers and (self.cycle is None or self.cycle.response_complete)

    def _close_idle(self) -> None:
        if self._idle and not self.transport.is_closing():
            self.transport.close()

    def _usual(self) -> bool:
        due = self.cycle is not None and not self.cycle.response_complete
        if due or self.expect_100_continue or self._stopping or self.flow.write_paused or self.transport.is_closing():
            return False
        parser = self.parser
        if parser.get_method() != b"POST" or parser.get_http_version() != "1.1":
            return False
        return parser.should_keep_alive() and not parser.should_upgrade() and self.app is self.config.loaded_app

    def _opened(self) -> bool:
        path, query = _split(self.url)
        endpoint = self._endpoint_at(path)
        if endpoint is None:
            return False
        call = endpoint.short_call({**self.scope, "method": "POST", "path": path, "query_string": query}, self._reply)
        if call is None:
            return False
        if call.open():
            self._due = _Due(call)
            self.cycle = cast(Any, self._due)
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
        self._reading = False
        if cast(Any, self.cycle) is due:
            self.cycle = _ANSWERED  # so that an idle connection does not keep what it last asked
        if not self.transport.is_closing():
            if not due.keep_alive:
                headers.append((b"connection", b"close"))
            self.transport.write(self._whole(outcome.status, headers, body))
            if not due.keep_alive:
                self.transport.close()
        self.on_response_complete()
        return len(body)

    def _whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
        lines = [b"%s: %s\r\n" % header for header in (*self.server_state.default_headers, *headers)]
        return b"".join((STATUS_LINE[status], *lines, b"\r\n", body))

    def _late_body(self) -> None:
        self._body_due = None
        if self._reading:
            assert self._due is not None
            self._due.keep_alive = False  # the rest of the body would be read as a request
            self._due.call.done(late_body(self._body_timeout_s))
        else:
            self._close_late()

    def _wait_for_headers(self) -> None:
        self._headers_due = self.loop.call_later(self._header_timeout_s, self._close_late)

    def _close_late(self) -> None:
        self._headers_due = None
        transport: Any = self.transport
        if not transport.is_closing():
            transport.close()

    def _forget_body(self) -> None:
        if self._body_due is not None:
            self._body_due.cancel()
            self._body_due = None


@lru_cache(256)
def _split(url: bytes) -> tuple[str, bytes]:
    """Path and query of a request's target; an empty path for one that has to be unquoted first."""
    parsed = httptools.parse_url(url)
    path = parsed.path or b""
    return "" if b"%" in path else path.decode("ascii"), parsed.query or b""
