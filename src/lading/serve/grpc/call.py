"""One inference call over gRPC: what its metadata say of its id and its trace, its span, and its line in the log."""

from __future__ import annotations

import os
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeAlias

import grpc
import structlog

from lading.serve.request_id import HEADER, ids, usable_request_id
from lading.serve.trace_context import TRACEPARENT, TRACESTATE, TraceContext, read_trace_context

if TYPE_CHECKING:
    from lading.serve.engine.model import ServedModel
    from lading.serve.tracing import RequestSpan, Tracing

log = structlog.get_logger("lading.request")

Context: TypeAlias = grpc.aio.ServicerContext
SERVICE = "inference.GRPCInferenceService"


class GrpcCall:
    """What is known of a call beside its message.

    Args:
        method: its name in the protocol.
        context: gRPC's.
        tracing: begins spans; ``None`` where tracing is off.
    """

    __slots__ = ("_context", "_id", "_tracing", "caller", "method", "trace")

    def __init__(self, method: str, context: Context, tracing: Tracing | None = None) -> None:
        self.method = method
        self._context = context
        self._tracing = tracing
        self._id, parent, states = None, None, []
        for key, value in context.invocation_metadata() or ():
            name = key.encode()
            if name == HEADER:
                self._id = usable_request_id(_bytes(value))
            elif name == TRACEPARENT:
                parent = _bytes(value)
            elif name == TRACESTATE:
                states.append(_bytes(value))
        self.caller = None if parent is None else read_trace_context(parent, b",".join(states))
        self.trace: TraceContext | None = self.caller.own_span() if self.caller and tracing is None else None
        """This server's place in the trace, when there is one."""

    @property
    def id(self) -> str:
        """The call's id: the client's ``x-request-id``, its trace's, or a new one."""
        if self._id is None:
            trace = self.trace or self.caller
            self._id = trace.trace_id if trace else os.urandom(16).hex()
        return self._id

    def begin_span(self, begin: float) -> RequestSpan | None:
        """The span of one request, begun at a time on ``time.perf_counter``; ``None`` where tracing is off."""
        if self._tracing is None:
            return None
        known = {"rpc.system": "grpc", "rpc.service": SERVICE, "rpc.method": self.method}
        span = self._tracing.begin(f"{SERVICE}/{self.method}", self.caller, begin, known)
        self.trace = span.context
        return span

    def answer_ids(self, *more: tuple[str, str], always: bool = False) -> None:
        """Send the ids back in the trailing metadata, if the client sent one, or there is a span to look for.

        Args:
            more: metadata to send with them.
            always: send the id even so, for an error that is looked up by it.
        """
        known = [(HEADER.decode(), self.id)] if always or self._id is not None or self.trace else []
        trace = self.trace.metadata() if self.trace else []
        if known or more:
            self._context.set_trailing_metadata((*known, *trace, *more))

    def log(self, status: int, seconds: float, trace: TraceContext | None) -> None:
        """Write a request's line in the access log; ``status`` is the HTTP status that means the same."""
        path = f"/{SERVICE}/{self.method}"
        ms = round(seconds * 1e3, 3)
        log.info("request", method="POST", path=path, status=status, ms=ms, **ids(self.id, trace))

    def end_span(self, span: RequestSpan, end: float, status: int, model: ServedModel | None) -> None:
        """Close a span that :meth:`begin_span` gave."""
        known: dict[str, str | int] = {"http.response.status_code": status, "lading.request_id": self.id}
        if model is not None:
            known |= {"lading.model": model.name, "lading.variant": model.variant}
        span.end(end, failed=status >= HTTPStatus.INTERNAL_SERVER_ERROR, attributes=known)


def _bytes(value: str | bytes) -> bytes:
    return value.encode("latin-1", "replace") if isinstance(value, str) else value
