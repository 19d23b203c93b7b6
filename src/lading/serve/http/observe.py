"""Request ids, keys, body limits and the access log for all endpoints except inference: metadata, probes, pages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lading.errors import LadingError
from lading.serve.engine.engine import Engine
from lading.serve.http.body import BoundedReceive, check_length, declared_length
from lading.serve.http.errors import REQUEST_ID_KEY, error_headers, error_response
from lading.serve.keys import OPEN_PATHS, PAGES, Keys, purpose_of
from lading.serve.outcome import UNEXPECTED
from lading.serve.request import REQUEST_ID, choose_id, wanted_seconds
from lading.serve.telemetry.request_log import log, log_fields, log_request
from lading.serve.telemetry.trace_context import caller_in

MAX_BODY_BYTES = 65_536
"""Maximum size of a body that is no inference request; feedback has the largest ones."""


class Observe:
    """ASGI middleware.

    Args:
        app: answers the request.
        keys: needed for everything but probes, metrics and pages that hold nothing of a model; ``None``: for nothing.
        engine: counts the bytes of bodies.
        body_timeout_s: seconds that a body may take.
        access_log: write one line per request.
    """

    def __init__(
        self, app: ASGIApp, keys: Keys | None, *, engine: Engine, body_timeout_s: float, access_log: bool
    ) -> None:
        self.app = app
        self.engine = engine
        self.keys = keys
        self.body_timeout_s = body_timeout_s
        self.access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sent = dict(scope["headers"])
        caller = caller_in(scope["headers"])
        trace = caller.own_span() if caller else None
        request_id = scope[REQUEST_ID_KEY] = choose_id(sent.get(REQUEST_ID), "", trace)
        begin = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].extend([(REQUEST_ID, request_id.encode()), *(trace.headers() if trace else ())])
            await send(message)

        try:
            if self.keys is not None and scope["path"] not in OPEN_PATHS | PAGES:
                self.keys.check(sent.get(b"authorization"), purpose_of(scope["path"]))
            check_length(declared_length(sent), MAX_BODY_BYTES)
            with self._room(sent) as arrived:
                timeout_s = min(self.body_timeout_s, wanted_seconds(sent))
                body = BoundedReceive(receive, MAX_BODY_BYTES, timeout_s, arrived)
                await self.app(scope, body, send_with_id)
        except LadingError as error:
            headers = {name.decode(): value.decode() for name, value in error_headers(error)}
            response = error_response(scope, error.status, str(error), headers)
            await response(scope, receive, send_with_id)
        except ClientDisconnect:
            log.debug("the client went away", **log_fields(scope["path"], request_id, trace))
        except Exception:
            log.exception("unexpected error", **log_fields(scope["path"], request_id, trace))
            if not status:
                response = error_response(scope, HTTPStatus.INTERNAL_SERVER_ERROR, UNEXPECTED)
                await response(scope, receive, send_with_id)
        if self.access_log:
            seconds = time.perf_counter() - begin
            log_request(scope["method"], scope["path"], status, seconds=seconds, request_id=request_id, trace=trace)

    @contextmanager
    def _room(self, headers: Mapping[bytes, bytes]) -> Iterator[Callable[[int], None] | None]:
        """Reserve room for a body, where one will come, until the request is answered.

        Raises:
            OverloadedError: there is none.
        """
        if b"transfer-encoding" not in headers and not declared_length(headers):
            yield None
            return
        held = declared_length(headers)

        def arrived(size: int) -> None:
            nonlocal held
            if size > held:
                self.engine.extend(held, size)
                held = size

        self.engine.reserve(held)
        try:
            yield arrived
        finally:
            self.engine.release(held)
