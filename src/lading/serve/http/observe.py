"""Request ids, keys and the access log for endpoints that are no inference: metadata, probes, pages."""

from __future__ import annotations

import time
from http import HTTPStatus

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lading.errors import UnauthorizedError
from lading.serve.call import REQUEST_ID, UNEXPECTED, choose_id, log_ids, log_request
from lading.serve.http.errors import REQUEST_ID_KEY, error_headers, error_response
from lading.serve.keys import OPEN_PATHS, Keys
from lading.serve.trace_context import caller_in

log = structlog.get_logger("lading.request")


class Observe:
    """ASGI middleware.

    Args:
        app: answers the request.
        keys: needed for everything but probes and metrics; ``None``: for nothing.
        access_log: write one line per request.
    """

    def __init__(self, app: ASGIApp, keys: Keys | None = None, *, access_log: bool = False) -> None:
        self.app = app
        self.keys = keys
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
            if self.keys is not None and scope["path"] not in OPEN_PATHS:
                self.keys.check(sent.get(b"authorization"))
            await self.app(scope, receive, send_with_id)
        except UnauthorizedError as error:
            headers = {name.decode(): value.decode() for name, value in error_headers(error)}
            response = error_response(scope, error.status, str(error), headers)
            await response(scope, receive, send_with_id)
        except ClientDisconnect:
            log.debug("the client went away", path=scope["path"], **log_ids(request_id, trace))
        except Exception:
            log.exception("unexpected error", path=scope["path"], **log_ids(request_id, trace))
            if not status:
                response = error_response(scope, HTTPStatus.INTERNAL_SERVER_ERROR, UNEXPECTED)
                await response(scope, receive, send_with_id)
        if self.access_log:
            seconds = time.perf_counter() - begin
            log_request(scope["method"], scope["path"], status, seconds=seconds, request_id=request_id, trace=trace)
