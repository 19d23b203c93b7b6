"""One inference call, the same for every port: key, model, admission, answer, count, span, record, log.

A port turns bytes into :meth:`Call.open` once the headers are there, :meth:`Call.submit` once the body is, and sends
what its reply gets. Nothing waits in here: the engine calls :meth:`Call.done` on the event loop.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar

import structlog

from lading.errors import LadingError, RequestError
from lading.protocol.codec import Codec
from lading.protocol.plain import PlainModel
from lading.record.exchange import Exchange
from lading.serve.engine.engine import Engine
from lading.serve.engine.model import Job
from lading.serve.engine.repository import Repository
from lading.serve.keys import Keys
from lading.serve.metrics import UNKNOWN, Metrics
from lading.serve.trace_context import TraceContext
from lading.settings import Settings
from lading.spec import Array

if TYPE_CHECKING:
    from lading.serve.tracing import RequestSpan, Tracing

log = structlog.get_logger("lading.request")

REQUEST_ID = b"x-request-id"
DEADLINE = b"x-request-timeout-ms"
CLIENT_WENT_AWAY = 499  # nginx's code; counted, never sent
UNEXPECTED = "something went wrong in the server; its log has the details under this request id"
# What a log line or another service's header can hold without quoting.
_USABLE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")

_GONE = Exception("the client went away")
_UNREAD: Any = SimpleNamespace(message_id=None)
"""Stands for the codec until the model is known."""

Body = TypeVar("Body")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Backend:
    """What all calls of a process use."""

    settings: Settings
    keys: Keys | None
    """``None``: no key is needed."""
    repository: Repository
    engine: Engine
    metrics: Metrics
    tracing: Tracing | None
    record: Callable[[Exchange], None] | None
    """Gets every answer of a model; ``None`` where nothing is recorded."""


class InferenceRequest(NamedTuple):
    """What a client asked for, as far as the headers say. It does not change."""

    protocol: str
    """Label of the metrics: ``http``, ``v2`` or ``grpc``."""
    method: str
    path: str
    headers: Mapping[bytes, bytes]
    """HTTP's headers or gRPC's metadata, names in lower case."""
    begin: float
    """When it arrived, on ``time.perf_counter``, in seconds."""
    model: str | None = None
    version: str | None = None
    variant: str | None = None
    size: int = 0
    """Bytes of the body as declared; 0 when unknown."""
    timeout_s: float | None = None
    """The timeout of gRPC; the header ``x-request-timeout-ms`` may shorten it. Without both, the setting holds."""
    message_id: str = ""
    """The id inside the message, where the message is known before the call."""
    streamed: bool = False
    """The headers belong to a stream of requests."""
    caller: TraceContext | None = None
    """The client's span."""
    span_name: str = ""
    span_attributes: Mapping[str, str | int] = {}


class Outcome(NamedTuple, Generic[Answer]):
    """What became of a call."""

    status: int
    """HTTP status, also for gRPC; 499 when the client went away."""
    request_id: str
    ids: list[tuple[bytes, bytes]]
    """Headers of every answer: the request id, and the trace where there is one."""
    answer: Answer | None
    """The codec's; ``None`` after an error."""
    outputs: Mapping[str, Array] | None = None
    error: str = ""
    """A sentence for the client."""
    cause: BaseException | None = None


Reply: TypeAlias = Callable[[Outcome[Answer]], int]
"""Sends an outcome, and returns the bytes of its body."""


class Call(Job, Generic[Body, Answer]):
    """One inference.

    Args:
        backend: models, engine, metrics and the rest.
        request: what was asked.
        kind: makes the codec from the model, the headers, and the limit of pixels.
        reply: called once, on the event loop; not after :meth:`leave`.

    Attributes:
        in_flight: it was admitted, and not answered yet.
    """

    __slots__ = ("_backend", "_info", "_kind", "_received", "_reply", "_span", "in_flight", "request", "trace")

    codec: Codec[Body, Answer]

    def __init__(
        self,
        backend: Backend,
        request: InferenceRequest,
        kind: Callable[[PlainModel, Mapping[bytes, bytes], int], Codec[Body, Answer]],
        reply: Reply[Answer],
    ) -> None:
        self.abandoned = False
        self.inputs = None
        self.stages = None
        self._backend, self.request, self._kind, self._reply = backend, request, kind, reply
        self.codec = _UNREAD
        self._info: PlainModel | None = None
        self.in_flight = False
        self._received = 0
        self._span: RequestSpan | None = None
        if backend.tracing is not None:
            self._span = backend.tracing.begin(
                request.span_name, request.caller, request.begin, request.span_attributes
            )
            self.stages = self._span.stages
            self.trace: TraceContext | None = self._span.context
        else:
            self.trace = request.caller and request.caller.own_span()

    def open(self) -> bool:
        """Check the key, find the model, and ask the engine for admission. Belongs before the body is read.

        Returns:
            False when the call was refused; its reply has been sent.
        """
        if not self.authorize():
            return False
        backend, request = self._backend, self.request
        try:
            self.model = model = backend.repository.find(request.model, request.version, request.variant)
            self._info = model.info
            self.codec = self._kind(model.info, request.headers, backend.settings.max_pixels)
            seconds, sent = request.timeout_s, request.headers.get(DEADLINE)
            if sent is not None:
                seconds = min(_seconds(sent), math.inf if seconds is None else seconds)
            self.deadline = request.begin + (backend.settings.deadline_ms / 1e3 if seconds is None else seconds)
            backend.engine.admit(model, self.deadline, request.size)
        except Exception as error:
            self.done(error)
            return False
        backend.metrics.requests_in_flight.inc()
        self.in_flight = True
        return True

    def authorize(self) -> bool:
        """Check the key alone; False when it was refused, and the reply has been sent."""
        keys = self._backend.keys
        if keys is not None:
            try:
                keys.check(self.request.headers.get(b"authorization"))
            except LadingError as error:
                self.done(error)
                return False
        return True

    def refuse(self, error: LadingError) -> None:
        """Answer an error, or 401 where the key is wrong: for bytes that name no model."""
        if self.authorize():
            self.done(error)

    def submit(self, body: Body, size: int) -> None:
        """Hand the body of ``size`` bytes to the engine, which calls :meth:`done`. Only after :meth:`open`."""
        self.body = body
        self.size = self._received = size
        try:
            self._backend.engine.submit(self)
        except Exception as error:
            self.done(error)

    def leave(self) -> None:
        """The client went away: drop the request unless a lane has begun with it, and send no reply."""
        if self.in_flight:
            self.abandoned = True
            self.done(_GONE)

    def done(self, result: Mapping[str, Array] | BaseException) -> None:
        """Send the answer, then count, trace, record and log it. Called once, on the event loop.

        Args:
            result: the model's outputs, batch dim included, or the reason why there are none.
        """
        backend, request, info = self._backend, self.request, self._info
        request_id = self._id()
        ids = [(REQUEST_ID, request_id.encode())]
        if self.trace is not None:
            ids += self.trace.headers()
        if isinstance(result, BaseException):
            outcome: Outcome[Answer] = self._failed(result, request_id, ids)
        else:
            try:
                outcome = Outcome(200, request_id, ids, self.codec.write(result), result)
            except Exception as error:
                outcome = self._failed(error, request_id, ids)._replace(outputs=result)
        sent = 0 if result is _GONE else self._reply(outcome)
        end = time.perf_counter()
        seconds, status = end - request.begin, int(outcome.status)
        if self.in_flight:
            self.in_flight = False
            backend.metrics.requests_in_flight.dec()
        backend.metrics.answered(
            request.protocol,
            status,
            seconds,
            model=info.name if info else UNKNOWN,
            variant=info.variant if info else UNKNOWN,
            received=self._received,
            sent=sent,
        )
        if self._span is not None:
            self._end_span(self._span, end, outcome)
        if backend.record is not None and info is not None:
            backend.record(
                Exchange(
                    request_id,
                    info,
                    request.protocol,
                    code=status,
                    error=outcome.error,
                    seconds=seconds,
                    time=time.time(),
                    inputs=self.inputs,
                    outputs=outcome.outputs,
                )
            )
        if backend.settings.access_log:
            log_request(request.method, request.path, status, seconds=seconds, request_id=request_id, trace=self.trace)

    def _failed(self, error: BaseException, request_id: str, ids: list[tuple[bytes, bytes]]) -> Outcome[Answer]:
        known = {"path": self.request.path, **log_ids(request_id, self.trace)}
        if error is _GONE:
            log.debug("the client went away", **known)
            return Outcome(CLIENT_WENT_AWAY, request_id, ids, None, cause=error)
        if not isinstance(error, LadingError):
            log.error("unexpected error", exc_info=error, **known)
            return Outcome(HTTPStatus.INTERNAL_SERVER_ERROR, request_id, ids, None, error=UNEXPECTED, cause=error)
        if error.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("the request failed", reason=str(error), **known)
        return Outcome(error.status, request_id, ids, None, error=str(error), cause=error)

    def _end_span(self, span: RequestSpan, end: float, outcome: Outcome[Answer]) -> None:
        known: dict[str, str | int] = {
            "http.response.status_code": int(outcome.status),
            "lading.request_id": outcome.request_id,
        }
        if self._info is not None:
            known |= {"lading.model": self._info.name, "lading.variant": self._info.variant}
        span.end(end, failed=outcome.status >= HTTPStatus.INTERNAL_SERVER_ERROR, attributes=known)

    def _id(self) -> str:
        """The one id of this call: in its answer, its log lines, its record and its span."""
        request = self.request
        message_id = request.message_id or self.codec.message_id or ""
        sent = request.headers.get(REQUEST_ID)
        # The header of a stream names the stream; its messages differ by their own ids.
        if request.streamed and _USABLE_ID.fullmatch(message_id):
            return message_id
        return choose_id(sent, message_id, self.trace)


def choose_id(sent: bytes | None, message_id: str, trace: TraceContext | None) -> str:
    """The id of a request: the header ``x-request-id``, the message's id, the trace, or a new one; the first usable.

    Usable are 1 to 128 letters, digits and ``._:/+=@-``, the first a letter or a digit.
    """
    if sent is not None and _USABLE_ID.fullmatch(header := sent.decode("latin-1")):
        return header
    if message_id and _USABLE_ID.fullmatch(message_id):
        return message_id
    return trace.trace_id if trace is not None else os.urandom(16).hex()


def log_ids(request_id: str, trace: TraceContext | None) -> dict[str, str]:
    """A request's id, trace and span as fields of a log line, under the names that OpenTelemetry uses."""
    fields = {"request_id": request_id}
    return fields if trace is None else {**fields, "trace_id": trace.trace_id, "span_id": trace.span_id}


def log_request(
    method: str, path: str, status: int, *, seconds: float, request_id: str, trace: TraceContext | None
) -> None:
    """Write one line of the access log."""
    ms = round(seconds * 1e3, 3)
    log.info("request", method=method, path=path, status=int(status), ms=ms, **log_ids(request_id, trace))


def _seconds(sent: bytes) -> float:
    try:
        value = float(sent)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise RequestError(f"x-request-timeout-ms is {sent.decode('latin-1')!r}: send the milliseconds, above 0")
    return value / 1e3
