"""uvicorn's HTTP/1.1 protocol with two bounds more, on open connections and the time of headers, and a gentler end."""

from __future__ import annotations

import asyncio
import resource
from typing import Any, ClassVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lading.serve.keys import OPEN_PATHS
from lading.settings import Settings

RESERVE = 64
"""Connections beyond the limit on which probes and scrapes are answered: a crowd must not have the pod restarted."""
LINGER_S = 1.0
"""How long a kept connection stays open while the server stops: a request that is under way would be reset."""
_FULL = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\nretry-after: 1\r\n"
_FULL_BODY = b'{"error":"as many connections are open as may","status":503,"request_id":""}'


class BoundedHttp(HttpToolsProtocol):
    """Answers 503 on a connection too many, probes excepted, and closes one whose headers do not come in time.

    When the server stops, a kept connection is answered once more, with ``connection: close``, if it is used soon.
    """

    max_connections: ClassVar[int]
    header_timeout_s: ClassVar[float]
    keep_alive_s: ClassVar[int]
    _headers_due: asyncio.TimerHandle | None = None
    _in_headers = False
    _stopping = False

    @classmethod
    def limited(cls, settings: Settings) -> type[BoundedHttp]:
        """A protocol class with the limits of the settings."""
        limits = {
            "max_connections": most_connections(settings.max_connections),
            "header_timeout_s": settings.header_timeout_s,
            "keep_alive_s": settings.keep_alive_s,
        }
        return type("LimitedHttp", (cls,), limits)

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.timeout_keep_alive = self.keep_alive_s

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        beyond = len(self.connections) - self.max_connections
        if beyond > 0:
            self.app = _probes_only(self.app)
        if beyond > RESERVE:
            transport.write(_FULL + b"content-length: %d\r\n\r\n" % len(_FULL_BODY) + _FULL_BODY)
            transport.close()
            return
        self._wait_for_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Most requests come whole, and need no timer.
        if self._in_headers and self._headers_due is None:
            self._wait_for_headers()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers = True

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._stop_waiting()
        super().on_headers_complete()
        if self._stopping:
            self.cycle.keep_alive = False

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

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_headers(self) -> None:
        self._headers_due = self.loop.call_later(self.header_timeout_s, self._close_late)

    def _stop_waiting(self) -> None:
        if self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None

    def _close_late(self) -> None:
        self._headers_due = None
        transport: Any = self.transport
        if not transport.is_closing():
            transport.close()


def _probes_only(app: ASGIApp) -> ASGIApp:
    """Refuse everything but probes and scrapes, and close the connection after either."""
    close = (b"connection", b"close")

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], close]
            await send(message)

        if scope["path"] in OPEN_PATHS:
            await app(scope, receive, send_and_close)
            return
        headers = [(b"content-type", b"application/json"), (b"retry-after", b"1"), close]
        headers.append((b"content-length", str(len(_FULL_BODY)).encode()))
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": _FULL_BODY})

    return answer


OWN = 128
"""What the server needs beside connections: libraries, models, logs, gRPC's own."""


def raise_limit() -> int:
    """Raise the soft limit to the hard one, as every server of many connections does, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return 2**31 if hard == resource.RLIM_INFINITY else hard


def most_connections(wanted: int) -> int:
    """As many connections as are wanted, or as the limit allows: one too many is then refused and not left waiting."""
    return max(1, min(wanted, raise_limit() - OWN))
