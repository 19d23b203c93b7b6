"""One inference call, the same for every port: key, model, admission, answer, count, span, record, log.

A port turns bytes into :meth:`Call.open` once the headers are there, :meth:`Call.submit` once the body is, and sends
what its reply gets. Nothing waits in here: the engine calls :meth:`Call.done` on the event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from lading.budget import Budget
from lading.errors import ExpiredError, LadingError, LateBodyError
from lading.protocol.codec import Codec
from lading.protocol.plain import PlainModel
from lading.record.exchange import USABLE_ID, Exchange
from lading.serve.backend import Backend
from lading.serve.engine.model import Job
from lading.serve.engine.pieces import Pieces
from lading.serve.kept_answers import REPLAYED, KeptAnswers, Retry
from lading.serve.outcome import GONE, Answer, Outcome, Reply, failed
from lading.serve.request import DEADLINE, REQUEST_ID, InferenceRequest, choose_id, wanted_seconds
from lading.serve.telemetry.metrics import UNKNOWN
from lading.serve.telemetry.request_log import log_request
from lading.serve.telemetry.trace_context import TraceContext
from lading.spec import Array

if TYPE_CHECKING:
    from lading.serve.telemetry.tracing import RequestSpan

SLOW_BODY_S = 0.1
"""A body that took longer than this, and more than half of the time until the deadline, is why an answer is late."""
_UNREAD: Any = SimpleNamespace(message_id=None)
"""Stands for the codec until the model is known."""

Body = TypeVar("Body")


class Call(Job, Generic[Body, Answer]):
    """One inference.

    Args:
        backend: models, engine, metrics and the rest.
        request: what was asked.
        kind: makes the codec from the model, the headers, and what reading may cost.
        reply: called once, on the event loop; not after :meth:`leave`.

    Attributes:
        in_flight: it was admitted, and not answered yet.
    """

    __slots__ = (
        "_backend",
        "_info",
        "_kind",
        "_received",
        "_reply",
        "_reserved",
        "_retry",
        "_span",
        "in_flight",
        "request",
        "trace",
    )

    codec: Codec[Body, Answer]

    def __init__(
        self,
        backend: Backend,
        request: InferenceRequest,
        kind: Callable[[PlainModel, Mapping[bytes, bytes], Budget], Codec[Body, Answer]],
        reply: Reply[Answer],
    ) -> None:
        self.abandoned = self.alone = False
        self.known_id = ""
        self.inputs = None
        self.stages = None
        self.written = None
        self._backend, self.request, self._kind, self._reply = backend, request, kind, reply
        self.codec = _UNREAD
        self._info: PlainModel | None = None
        self.in_flight = False
        self._received = 0
        self._reserved: int | None = None
        """Bytes that the engine holds for the body while it arrives."""
        self._retry: Retry | None = None
        """The answer of this request and its retries, where they have an id."""
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
            settings = backend.settings
            seconds, wanted = settings.deadline_ms / 1e3, request.timeout_s
            if DEADLINE in request.headers:
                asked = wanted_seconds(request.headers)
                wanted = asked if wanted is None else min(asked, wanted)
            if wanted is not None:
                seconds = min(wanted, max(seconds, settings.max_deadline_ms / 1e3))
            self.deadline = request.begin + seconds
            self.codec = self._kind(model.info, request.headers, Budget(*backend.limits, self.deadline))
            backend.engine.admit(model, self.deadline, request.size)
            backend.engine.reserve(request.size)
            self._reserved = request.size
        except Exception as error:
            self.done(error)
            return False
        backend.metrics.in_flight += 1
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

    def reserve(self, size: int) -> None:
        """Count the bytes of a body that have arrived so far, where they are more than were declared.

        Raises:
            OverloadedError: there is no room for them.
        """
        if self._reserved is not None and size > self._reserved:
            self._backend.engine.extend(self._reserved, size)
            self._reserved = size

    def _release(self) -> None:
        assert self._reserved is not None
        self._backend.engine.release(self._reserved)
        self._reserved = None

    def submit(self, body: Body | Pieces, size: int) -> None:
        """Hand the body of ``size`` bytes to the engine, which calls :meth:`done`. Only after :meth:`open`."""
        self.body = body
        self.size = self._received = size
        if self._backend.kept is not None and self._joins(self._backend.kept):
            return
        if self._reserved is not None:
            self._release()
        try:
            self._backend.engine.submit(self)
        except Exception as error:
            self.done(error)

    def _joins(self, kept: KeptAnswers) -> bool:
        """Whether another request gets, or has got, the answer of this one; or this one was refused."""
        try:
            if self._retry is None:
                assert self._info is not None
                self._retry = Retry.of(kept, self, self.request, self._info)
            return self._retry is not None and self._retry.joins()
        except Exception as error:
            self.done(error)
            return True

    def replay(self, answer: Answer | None, error: LadingError | None, request_id: str) -> None:
        """Send what an earlier attempt got.

        Args:
            answer: the codec's; ``None`` after an error.
            error: of that attempt.
            request_id: of that attempt, and of this one if it sent none.
        """
        if REQUEST_ID not in self.request.headers:
            self.known_id = request_id
        self.written = answer
        self.done({} if error is None else error)

    def leave(self) -> None:
        """The client went away: drop the request unless a lane has begun with it, and send no reply.

        One that a retry may ask for runs to its end.
        """
        if self.in_flight:
            self.abandoned = self._retry is None
            self.done(GONE)

    def done(self, result: Mapping[str, Array] | BaseException) -> None:
        """Send the answer, then count, trace, record and log it. Called once, on the event loop.

        Args:
            result: the model's outputs, batch dim included, or the reason why there are none.
        """
        if self._reserved is not None:
            self._release()
        backend, request, info = self._backend, self.request, self._info
        self.known_id = request_id = self.known_id or self._id()
        ids = [(REQUEST_ID, request_id.encode())]
        if self.trace is not None:
            ids += self.trace.headers()
        if isinstance(result, BaseException):
            error = self._blamed(result) if isinstance(result, ExpiredError) else result
            outcome: Outcome[Answer] = failed(error, request_id, ids, request.path, self.trace)
        else:
            try:
                answer = self.codec.write(result) if self.written is None else self._written()
                outcome = Outcome(200, request_id, ids, answer, result)
            except Exception as error:
                outcome = failed(error, request_id, ids, request.path, self.trace)._replace(outputs=result)
        record = backend.record
        if self._retry is not None:
            if self._retry.ended(outcome):
                return
            record = None if REPLAYED in ids else record  # an answer is recorded once
        sent = 0 if result is GONE else self._reply(outcome)
        end = time.perf_counter()
        seconds, status = end - request.begin, int(outcome.status)
        if self.in_flight:
            self.in_flight = False
            backend.metrics.in_flight -= 1
        backend.metrics.answered(
            request.protocol,
            status,
            seconds,
            model=info.name if info else UNKNOWN,
            variant=info.variant if info else UNKNOWN,
            received=self._received,
            sent=sent,
            trace=self.trace,
        )
        if request.span_name:
            self._report(end, seconds, outcome)
        if record is not None and info is not None:
            record(
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
        if result is not GONE:  # a lane may still read it
            self.body = self.inputs = None

    def _written(self) -> Answer:
        """What a lane wrote, or could not write."""
        written: Answer | Exception = self.written
        if isinstance(written, Exception):
            raise written
        return written

    @property
    def request_id(self) -> str:
        """The one id of this call: in its answer, its log lines, its record and its span."""
        if not self.known_id:
            self.known_id = self._id()
        return self.known_id

    def _blamed(self, error: ExpiredError) -> LadingError:
        """The error of an answer that is late: the client's, if its body took most of the time."""
        # A retry may have waited for an earlier request with its id, and is queued after that, or never.
        if self._received and self._retry is None:
            taken, given = self.queued - self.request.begin, self.deadline - self.request.begin
            if taken > max(SLOW_BODY_S, given / 2):
                return LateBodyError(
                    f"the body took {taken:.3g} s of the {given:.3g} s until the deadline: send it sooner"
                )
        return error

    def _report(self, end: float, seconds: float, outcome: Outcome[Answer]) -> None:
        """End the span, and count the request under OpenTelemetry's names, whichever is on."""
        otlp, request, span = self._backend.otlp_metrics, self.request, self._span
        if otlp is not None:
            otlp.answered(request.span_attributes, request.span_name, int(outcome.status), seconds, self.trace)
        if span is None:
            return
        known: dict[str, str | int] = {
            "http.response.status_code": int(outcome.status),
            "lading.request_id": outcome.request_id,
        }
        if self._info is not None:
            if self.stages is not None:
                name, variant, stages = self._info.name, self._info.variant, self.stages.seconds()
                self._backend.metrics.stages_traced(name, variant, stages, span.context)
            known |= {"lading.model": self._info.name, "lading.variant": self._info.variant}
        span.end(end, status=int(outcome.status), attributes=known)

    def _id(self) -> str:
        request = self.request
        message_id = request.message_id or self.codec.message_id or ""
        sent = request.headers.get(REQUEST_ID)
        # The header of a stream names the stream; its messages differ by their own ids.
        if request.streamed and USABLE_ID.fullmatch(message_id):
            return message_id
        return choose_id(sent, message_id, self.trace)
