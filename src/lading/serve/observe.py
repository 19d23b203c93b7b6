"""What surrounds every request that is no inference: its id, its key, its line in the log, the last net for errors."""

from __future__ import annotations

import time
from http import HTTPStatus

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lading.errors import UnauthorizedError
from lading.serve.authorize import OPEN_PATHS, Keys
from lading.serve.errors import UNEXPECTED, error_headers, error_response
from lading.serve.request_id import HEADER, assign_request_id, caller_of, log_ids

log = structlog.get_logger("lading.request")


class Observe:
    """ASGI middleware.

    Args:
        app: what answers.
        keys: who may ask for anything but probes and metrics; everyone when ``None``.
        access_log: write one line a request.
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
        caller = caller_of(scope, sent)
        trace = caller.own_span() if caller else None
        assigned = assign_request_id(scope, sent.get(HEADER), trace)
        begin = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].extend([(HEADER, assigned.encode()), *(trace.headers() if trace else ())])
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
            log.debug("the client went away", path=scope["path"], **log_ids(scope))
        except Exception:
            log.exception("unexpected error", path=scope["path"], **log_ids(scope))
            if not status:
                response = error_response(scope, HTTPStatus.INTERNAL_SERVER_ERROR, UNEXPECTED)
                await response(scope, receive, send_with_id)
        if self.access_log:
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                ms=round((time.perf_counter() - begin) * 1e3, 3),
                **log_ids(scope),
            )
