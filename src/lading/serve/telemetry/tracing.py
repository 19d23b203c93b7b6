"""Spans of requests, by OpenTelemetry to an OTLP collector: the request, and in it queue, decode and inference.

Where to send them, with which headers and in what batches is said by OpenTelemetry's own variables
(``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_EXPORTER_OTLP_HEADERS``, ``OTEL_BSP_*``, ``OTEL_RESOURCE_ATTRIBUTES``). This
module is imported only where tracing is on. Spans hold no payload: names, codes and durations.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    TraceState,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)

import lading
from lading.serve.engine.model import Stages
from lading.serve.telemetry.conventions import Attributes, outcome_of
from lading.serve.telemetry.trace_context import TraceContext
from lading.settings import Settings

log = structlog.get_logger("lading.tracing")

FLUSH_S = 3.0
"""How long a stop waits for a collector that does not answer."""


class Tracing:
    """Begins spans, and sends those that are sampled in batches, from a thread of its own.

    Args:
        settings: which share of requests is traced where the caller has not decided.
    """

    def __init__(self, settings: Settings) -> None:
        log_exports()
        self._exporter = OTLPSpanExporter()
        self._processor = BatchSpanProcessor(self._exporter)
        provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(settings.trace_ratio)), resource=resource(), shutdown_on_exit=False
        )
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("lading", lading.__version__)

    def begin(self, name: str, caller: TraceContext | None, begin: float, attributes: Attributes) -> RequestSpan:
        """A span of this server's.

        Args:
            name: method and route, from a bounded set.
            caller: its parent, when the caller sent one.
            begin: when the request came, on ``time.perf_counter``, in seconds.
            attributes: what is known of the request already.
        """
        return RequestSpan(self._tracer, name, caller, begin, attributes)

    def close(self) -> None:
        """Send what is left, for at most three seconds."""
        export_last(self._processor.shutdown, self._exporter.shutdown, "spans")


def export_last(shut_down: Callable[[], object], give_up: Callable[[], object], what: str) -> None:
    """Send what is left, for at most three seconds: a collector that is down must not delay a stop.

    Args:
        shut_down: sends, and returns when all was sent or refused.
        give_up: makes ``shut_down`` return.
        what: is sent, for the log.
    """
    sending = threading.Thread(target=shut_down, name=f"last-{what}", daemon=True)
    sending.start()
    sending.join(FLUSH_S)
    if sending.is_alive():
        log.warning(f"{what} are left that the collector did not take")
        give_up()


class RequestSpan:
    """The span of one request.

    Attributes:
        context: this span's place in its trace, for the answer and the log.
        stages: for the lane to fill in; ``None`` where the request is not sampled.
    """

    __slots__ = ("_offset_ns", "_request", "_span", "_tracer", "context", "stages")

    def __init__(
        self, tracer: Tracer, name: str, caller: TraceContext | None, begin: float, attributes: Attributes
    ) -> None:
        self._tracer, self._request = tracer, attributes
        self._offset_ns = time.time_ns() - time.perf_counter_ns()
        self._span: Span = tracer.start_span(
            name,
            # Never the ambient context: BentoML's middleware has one of its own.
            context=Context() if caller is None else in_trace(caller),
            kind=SpanKind.SERVER,
            attributes=attributes,
            start_time=self._ns(begin),
        )
        own = self._span.get_span_context()
        trace_id, span_id = format_trace_id(own.trace_id), format_span_id(own.span_id)
        self.context = TraceContext(trace_id, span_id, int(own.trace_flags), own.trace_state.to_header())
        self.stages = Stages() if self._span.is_recording() else None

    def end(self, end: float, *, status: int, attributes: Attributes) -> None:
        """Close the span, with one for each stage that the request reached.

        Args:
            end: on ``time.perf_counter``, in seconds.
            status: of HTTP, also for gRPC; 499 when the client went away.
            attributes: what else is known now.
        """
        if self.stages is None:
            return
        inside = set_span_in_context(self._span, Context())
        for name in ("queue", "decode", "inference"):
            span = getattr(self.stages, name)
            if span is not None:
                rows = {"lading.batch_size": self.stages.rows} if name == "inference" else None
                begun = self._tracer.start_span(name, inside, attributes=rows, start_time=self._ns(span[0]))
                begun.end(self._ns(span[1]))
        outcome = outcome_of(self._request, status)
        self._span.set_attributes({**attributes, **outcome})
        if "error.type" in outcome:  # the server's fault
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end(self._ns(end))

    def _ns(self, seconds: float) -> int:
        return int(seconds * 1e9) + self._offset_ns


def in_trace(caller: TraceContext) -> Context:
    """A context whose current span is another service's."""
    state = TraceState.from_header([caller.state]) if caller.state else None
    parent = SpanContext(int(caller.trace_id, 16), int(caller.span_id, 16), True, TraceFlags(caller.flags), state)
    return set_span_in_context(NonRecordingSpan(parent), Context())


def resource() -> Resource:
    """Who sends: the service, its version, and this process, which a collector must tell from other workers."""
    given = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    attributes = {"service.version": lading.__version__}
    if "OTEL_SERVICE_NAME" not in os.environ and "service.name=" not in given:
        attributes["service.name"] = "lading"
    if "service.instance.id=" not in given:
        attributes["service.instance.id"] = str(uuid.uuid4())
    return Resource.create(attributes)


def log_exports() -> None:
    """Let OpenTelemetry report on its exports in this server's log."""
    logger = logging.getLogger("opentelemetry")
    logger.handlers, logger.propagate = [_ToStructlog()], False


class _ToStructlog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            log.warning("tracing", reason=record.getMessage())
