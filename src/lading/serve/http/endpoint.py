"""What surrounds an inference request over HTTP: its key, its count and duration, its id, and its errors.

This is the path that every request takes, so it is plain ASGI: a router and middlewares cost as much as a small model.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lading.errors import LadingError, OverloadedError, UnauthorizedError
from lading.protocol.codec import JSON, Headers
from lading.record.exchange import Exchange
from lading.serve.engine.model import Job
from lading.serve.errors import UNEXPECTED, error_body, error_headers, error_response, log_failure
from lading.serve.http.inference import HttpInference, Plan
from lading.serve.http.request import HttpCall
from lading.serve.keys import OPEN_PATHS, Keys
from lading.serve.metrics import UNKNOWN, Metrics
from lading.serve.request_id import HEADER, assign_request_id, caller_of, log_ids
from lading.settings import Settings

if TYPE_CHECKING:
    from lading.serve.tracing import Tracing
    from lading.spec import Array

log = structlog.get_logger("lading.request")

CLIENT_WENT_AWAY = 499  # nginx's code; never sent, only counted
Answer = tuple[int, Headers, bytes]
"""Status, headers and body."""


class InferenceEndpoint:
    """An ASGI app, and the same without ASGI for a server that reads bodies itself.

    Args:
        plan: says what is to be done with a request, or raises.
        inference: does it.
        protocol: label of the metrics: ``http`` or ``v2``.
        metrics: where the request is counted.
        settings: limits, and whether to log each request.
        keys: who may ask; everyone when ``None``.
        route: its path, with names for what varies.
        tracing: begins a span for each request; ``None`` where tracing is off.
        record: is shown every answer of a model.
    """

    def __init__(
        self,
        plan: Callable[[HttpCall], Plan],
        inference: HttpInference,
        protocol: str,
        *,
        metrics: Metrics,
        settings: Settings,
        keys: Keys | None,
        route: str = "",
        tracing: Tracing | None = None,
        record: Callable[[Exchange], None] | None = None,
    ) -> None:
        self._plan, self._inference, self._engine = plan, inference, inference.engine
        self._record = record
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
            code, headers, body = await self._answer(call)
            await send({"type": "http.response.start", "status": code, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            status, sent = code, len(body)
        except ClientDisconnect:
            log.debug("the client went away", path=scope["path"], **log_ids(call.scope))
        finally:
            self._count(call, status, sent)

    def open(self, scope: Scope) -> OpenRequest | Answer | None:
        """Begin with a request whose headers have been read, and whose body has not.

        Returns:
            A request that waits for its body; the 429 that it was refused with, which has been counted; or ``None``
            for one that ASGI's way is for, which it has not touched.
        """
        call = HttpCall(scope, _no_body, self._settings, self._route, self._tracing)
        try:
            plan, deadline = self._admitted(call)
        except OverloadedError as error:
            self._metrics.requests_in_flight.inc()
            answer = self._failed(call, error)
            self._count(call, answer[0], len(answer[2]))
            return answer
        except Exception:  # ASGI's way meets it again, and answers it
            return None
        # A body whose length is not known beforehand is read piece by piece.
        if b"content-length" not in call.headers or call.declared_bytes > self._settings.max_body_bytes:
            return None
        self._metrics.requests_in_flight.inc()
        return OpenRequest(self, call, plan, deadline)

    async def _answer(self, call: HttpCall) -> Answer:
        try:
            return _answered(call, *await self._inference.answer(call, *self._admitted(call)))
        except ClientDisconnect:
            raise
        except Exception as error:
            return self._failed(call, error)

    def _admitted(self, call: HttpCall) -> tuple[Plan, float]:
        """What to do, and until when; raises what the request is refused with."""
        if self._keys is not None:
            self._keys.check(call.headers.get(b"authorization"))
        plan, deadline = self._plan(call), call.deadline()
        self._engine.admit(plan.model, deadline, call.declared_bytes)
        return plan, deadline

    def _failed(self, call: HttpCall, error: BaseException) -> Answer:
        headers = JSON
        if isinstance(error, LadingError):
            log_failure(error, call.scope)
            status, call.error = error.status, str(error)
            headers = [*JSON, *error_headers(error)]
        else:
            log.error("unexpected error", exc_info=error, path=call.scope["path"], **log_ids(call.scope))
            status, call.error = HTTPStatus.INTERNAL_SERVER_ERROR, UNEXPECTED
        body = error_body(call.scope, status, call.error)
        return status, [*headers, *call.answer_headers(len(body))], body

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
                    model.info,
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


class OpenRequest:
    """A request that was admitted, until it is answered or its client goes away.

    Args:
        endpoint: whose it is.
        call: what its headers say.
        plan: what to do with its body.
        deadline: on ``time.perf_counter``, in seconds.
    """

    __slots__ = ("_call", "_deadline", "_endpoint", "_job", "_plan", "_write")

    def __init__(self, endpoint: InferenceEndpoint, call: HttpCall, plan: Plan, deadline: float) -> None:
        self._endpoint, self._call, self._plan, self._deadline = endpoint, call, plan, deadline
        self._write: Callable[[Answer], None] | None = None
        self._job: Job | None = None

    def submit(self, body: bytes, write: Callable[[Answer], None]) -> None:
        """Have it answered.

        Args:
            body: all of it.
            write: is called once with the answer, perhaps at once; never after :meth:`leave`.
        """
        call, plan, self._write = self._call, self._plan, write
        call.received = len(body)
        read = plan.reader(call, body)
        try:
            self._job = self._endpoint._engine.submit(
                plan.model,
                read,
                self._done,
                deadline=self._deadline,
                size=len(body),
                brief=plan.brief,
                stages=call.stages,
            )
        except Exception as error:
            self._done(error)

    def fail_late(self, write: Callable[[Answer], None]) -> None:
        """Answer that the body did not come in time."""
        self._write = write
        self._done(self._call.late_body())

    def leave(self) -> None:
        """Its client has gone: it is counted, and dropped unless a lane has begun with it."""
        if self._job is not None:
            self._job.abandoned = True
            self._job = None
        log.debug("the client went away", path=self._call.scope["path"], **log_ids(self._call.scope))
        self._endpoint._count(self._call, CLIENT_WENT_AWAY, 0)

    def _done(self, outcome: Mapping[str, Array] | BaseException) -> None:
        call, endpoint = self._call, self._endpoint
        self._job = None  # it knows this method, and its pictures should not wait for the garbage collector
        if isinstance(outcome, BaseException):
            answer = endpoint._failed(call, outcome)
        else:
            try:
                call.outputs = outcome
                answer = _answered(call, *self._plan.encode(outcome))
            except Exception as error:
                answer = endpoint._failed(call, error)
        assert self._write is not None
        self._write(answer)
        endpoint._count(call, answer[0], len(answer[2]))


def _answered(call: HttpCall, headers: Headers, body: bytes) -> Answer:
    return HTTPStatus.OK, [*headers, *call.answer_headers(len(body))], body


async def _no_body() -> Message:
    """Never asked: a refusal does not wait for the body."""
    raise AssertionError


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
