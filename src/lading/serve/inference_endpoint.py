"""What surrounds an inference request over HTTP: its key, its count and duration, its id, and its errors.

This is the path that every request takes, so it is plain ASGI: a router and middlewares cost as much as a small model.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from lading.errors import LadingError, OverloadedError
from lading.metrics import UNKNOWN, Metrics
from lading.serve.authorize import Keys
from lading.serve.errors import UNEXPECTED, error_body, error_headers, log_failure
from lading.serve.exchange import Exchange
from lading.serve.http_call import HttpCall
from lading.serve.request_id import log_ids
from lading.settings import Settings

if TYPE_CHECKING:
    from lading.serve.tracing import Tracing

log = structlog.get_logger("lading.request")

WRITE = "lading.write"
"""Key in the scope, where the server has it: takes status, headers and body, and says whether it has sent them."""
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
        admit: raises what a request would be refused with; ``None``: nothing is refused before it is answered.
        route: its path, with names for what varies.
        tracing: begins a span for each request; ``None`` where tracing is off.
        record: is shown every answer of a model.
    """

    def __init__(
        self,
        answer: Answer,
        protocol: str,
        metrics: Metrics,
        settings: Settings,
        keys: Keys | None,
        *,
        admit: Callable[[HttpCall], None] | None = None,
        route: str = "",
        tracing: Tracing | None = None,
        record: Callable[[Exchange], None] | None = None,
    ) -> None:
        self._record = record
        self._answer, self._admit = answer, admit
        self._route, self._tracing = route, tracing
        self._protocol = protocol
        self._metrics = metrics
        self._settings = settings
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = HttpCall(scope, receive, self._settings, self._route, self._tracing)
        self._metrics.requests_in_flight.inc()
        status, sent = CLIENT_WENT_AWAY, 0
        try:
            code, headers, body = await self._outcome(call)
            headers = [*headers, *call.answer_headers(len(body))]
            write = scope.pop(WRITE, None)  # holds the scope itself
            if write is None or not write(code, headers, body):
                await send({"type": "http.response.start", "status": code, "headers": headers})
                await send({"type": "http.response.body", "body": body})
            status, sent = code, len(body)
        except ClientDisconnect:
            log.debug("the client went away", path=scope["path"], **log_ids(call.scope))
        finally:
            self._count(call, status, sent)

    def refusal(self, scope: Scope) -> tuple[Headers, bytes] | None:
        """Headers and body of the 429 that a request would get, counted; ``None`` when it would get something else."""
        if self._admit is None or self._tracing is not None or self._settings.access_log:
            return None
        call = HttpCall(scope, _no_body, self._settings, self._route)
        try:
            if self._keys is not None:
                self._keys.check(call.headers.get(b"authorization"))
            self._admit(call)
        except OverloadedError as error:
            call.error = str(error)
            body = error_body(scope, error.status, call.error)
            self._metrics.requests_in_flight.inc()
            self._count(call, error.status, len(body))
            return [*JSON, *error_headers(error), *call.answer_headers(len(body))], body
        except LadingError:
            return None
        return None

    async def _outcome(self, call: HttpCall) -> tuple[int, Headers, bytes]:
        try:
            if self._keys is not None:
                self._keys.check(call.headers.get(b"authorization"))
            headers, body = await self._answer(call)
        except LadingError as error:
            log_failure(error, call.scope)
            call.error = str(error)
            return error.status, [*JSON, *error_headers(error)], error_body(call.scope, error.status, str(error))
        except ClientDisconnect:
            raise
        except Exception:
            log.exception("unexpected error", path=call.scope["path"], **log_ids(call.scope))
            code = HTTPStatus.INTERNAL_SERVER_ERROR
            call.error = UNEXPECTED
            return code, JSON, error_body(call.scope, code, UNEXPECTED)
        return HTTPStatus.OK, headers, body

    def _count(self, call: HttpCall, status: int, sent: int) -> None:
        end = time.perf_counter()
        seconds = end - call.begin
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
        if call.span is not None:
            known: dict[str, str | int] = {"http.response.status_code": int(status), "lading.request_id": call.id}
            if model is not None:
                known |= {"lading.model": model.name, "lading.variant": model.variant}
            call.span.end(end, failed=status >= HTTPStatus.INTERNAL_SERVER_ERROR, attributes=known)
        if self._record is not None and model is not None:
            self._record(
                Exchange(
                    call.id,
                    model,
                    self._protocol,
                    code=int(status),
                    error=call.error,
                    seconds=seconds,
                    time=time.time(),
                    inputs=call.inputs,
                    outputs=call.outputs,
                )
            )
        if self._settings.access_log:
            log.info(
                "request",
                method=call.scope["method"],
                path=call.scope["path"],
                status=int(status),
                ms=round(seconds * 1e3, 3),
                **log_ids(call.scope),
            )


async def _no_body() -> Message:
    """Never asked: a refusal does not wait for the body."""
    raise AssertionError
