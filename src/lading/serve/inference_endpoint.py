"""What surrounds an inference request over HTTP: its key, its count and duration, its id, and its errors.

This is the path that every request takes, so it is plain ASGI: a router and middlewares cost as much as a small model.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from lading.errors import LadingError
from lading.metrics import UNKNOWN, Metrics
from lading.serve.authorize import Keys
from lading.serve.errors import UNEXPECTED, error_body, error_headers, log_failure
from lading.serve.http_call import HttpCall
from lading.serve.request_id import HEADER
from lading.settings import Settings

log = structlog.get_logger("lading.request")

CLIENT_WENT_AWAY = 499  # nginx's code; never sent, only counted
Headers = list[tuple[bytes, bytes]]
Answer = Callable[[HttpCall], Awaitable[tuple[Headers, bytes]]]
JSON: Headers = [(b"content-type", b"application/json")]


class InferenceEndpoint:
    """An ASGI app around a function that answers.

    Args:
        answer: gives headers and body, or raises.
        protocol: label of the metrics: ``http`` or ``v2``.
        metrics: where the request is counted.
        settings: limits, and whether to log each request.
        keys: who may ask; everyone when ``None``.
    """

    def __init__(self, answer: Answer, protocol: str, metrics: Metrics, settings: Settings, keys: Keys | None) -> None:
        self._answer = answer
        self._protocol = protocol
        self._metrics = metrics
        self._settings = settings
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = HttpCall(scope, receive, self._settings)
        self._metrics.requests_in_flight.inc()
        status, sent = CLIENT_WENT_AWAY, 0
        try:
            code, headers, body = await self._outcome(call)
            fixed = [(HEADER, call.id.encode()), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": code, "headers": [*headers, *fixed]})
            await send({"type": "http.response.body", "body": body})
            status, sent = code, len(body)
        except ClientDisconnect:
            log.debug("the client went away", request_id=call.id, path=scope["path"])
        finally:
            self._count(call, status, sent)

    async def _outcome(self, call: HttpCall) -> tuple[int, Headers, bytes]:
        try:
            if self._keys is not None:
                self._keys.check(call.headers.get(b"authorization"))
            headers, body = await self._answer(call)
        except LadingError as error:
            log_failure(error, call.scope)
            return error.status, [*JSON, *error_headers(error)], error_body(call.scope, error.status, str(error))
        except ClientDisconnect:
            raise
        except Exception:
            log.exception("unexpected error", request_id=call.id, path=call.scope["path"])
            code = HTTPStatus.INTERNAL_SERVER_ERROR
            return code, JSON, error_body(call.scope, code, UNEXPECTED)
        return HTTPStatus.OK, headers, body

    def _count(self, call: HttpCall, status: int, sent: int) -> None:
        seconds = time.perf_counter() - call.begin
        model = call.model
        self._metrics.requests_in_flight.dec()
        self._metrics.answered(
            self._protocol,
            status,
            seconds,
            model=model.name if model else UNKNOWN,
            variant=model.variant if model else UNKNOWN,
            received=call.received,
            sent=sent,
        )
        if self._settings.access_log:
            log.info(
                "request",
                method=call.scope["method"],
                path=call.scope["path"],
                status=int(status),
                ms=round(seconds * 1e3, 3),
                request_id=call.id,
            )
