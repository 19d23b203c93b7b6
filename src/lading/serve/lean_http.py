"""uvicorn's protocol with two shortcuts: overload is refused when the headers are read, and answers are written whole.

Most of what a refusal costs is what uvicorn, asyncio and the app do for a request, and a server that is asked for three
times what it can do refuses two for each one that it answers, on the same CPUs. ASGI's two messages an answer, and the
search of each header in them, cost about as much as a small model's run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, ClassVar

import httptools
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from lading.serve.bounded_http import BoundedHttp
from lading.serve.inference_endpoint import WRITE, Headers
from lading.settings import Settings

Refuse = Callable[[Scope], tuple[Headers, bytes] | None]
"""Headers and body of a 429; ``None`` for a request that is not refused, or not here."""

_ANSWERED: Any = SimpleNamespace(response_complete=True, message_event=asyncio.Event())
"""Stands for the request that was refused: uvicorn drops what still comes of one that has been answered."""


class LeanHttp(BoundedHttp):
    """Answers 429 to a ``POST`` that cannot be answered in time, before its body has been read.

    The body is dropped as it comes, for as long as a body may take, and then the connection is used again. Whatever is
    unusual (another answer is due first, ``Expect``, HTTP/1.0, ``connection: close``, TLS upgrades) goes the long way.
    """

    refuse: ClassVar[staticmethod[[Scope], tuple[Headers, bytes] | None]]
    overloaded: ClassVar[staticmethod[[], bool]]
    """Whether it is worth asking :attr:`refuse`."""
    body_timeout_s: ClassVar[float]
    _dropping = False
    """The rest of a request that was refused is still to come."""
    _body_due: asyncio.TimerHandle | None = None

    @classmethod
    def of(cls, settings: Settings, refuse: Refuse, overloaded: Callable[[], bool]) -> type[BoundedHttp]:
        """A protocol class with the limits of the settings and of an engine."""
        engine = {
            "refuse": staticmethod(refuse),
            "overloaded": staticmethod(overloaded),
            "body_timeout_s": settings.body_timeout_s,
        }
        return type("LimitedLeanHttp", (cls.limited(settings),), engine)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Most bodies come with their headers, and need no timer.
        if self._dropping and self._body_due is None:
            self._body_due = self.loop.call_later(self.body_timeout_s, self._close_late)

    def on_headers_complete(self) -> None:
        if self.overloaded() and self._usual() and self._refused():
            self._in_headers = False
            self._stop_waiting()
            return
        super().on_headers_complete()
        scope: Scope = self.scope  # type: ignore[assignment]
        if scope["method"] == "POST" and self.app is self.config.loaded_app:
            scope[WRITE] = partial(self._write, self.cycle)

    def on_message_complete(self) -> None:
        if self._dropping:
            self._stop_dropping()
            self.on_response_complete()  # counts it, and waits for the next one
        else:
            super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_dropping()
        super().connection_lost(exc)

    def _usual(self) -> bool:
        due = self.cycle is not None and not self.cycle.response_complete
        if due or self.expect_100_continue or self._stopping or self.transport.is_closing():
            return False
        parser = self.parser
        if parser.get_method() != b"POST" or parser.get_http_version() != "1.1":
            return False
        return parser.should_keep_alive() and not parser.should_upgrade() and self.app is self.config.loaded_app

    def _refused(self) -> bool:
        url = httptools.parse_url(self.url)
        refused = self.refuse(
            {**self.scope, "method": "POST", "path": url.path.decode("ascii"), "query_string": url.query or b""}
        )
        if refused is None:
            return False
        self.transport.write(self._whole(HTTPStatus.TOO_MANY_REQUESTS, *refused))
        self.cycle, self._dropping = _ANSWERED, True
        return True

    def _write(self, cycle: RequestResponseCycle, status: int, headers: Headers, body: bytes) -> bool:
        """Write an answer in one piece, as the cycle's ``send`` does it in two; false if it must be asked after all."""
        if cycle.response_started or cycle.disconnected or not cycle.keep_alive or self.flow.write_paused:
            return False
        self.transport.write(self._whole(status, headers, body))
        cycle.waiting_for_100_continue = False
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        cycle.on_response()
        return True

    def _whole(self, status: int, headers: Headers, body: bytes) -> bytes:
        lines = [b"%s: %s\r\n" % header for header in (*self.server_state.default_headers, *headers)]
        return b"".join((STATUS_LINE[status], *lines, b"\r\n", body))

    def _stop_dropping(self) -> None:
        self._dropping = False
        if self._body_due is not None:
            self._body_due.cancel()
            self._body_due = None
