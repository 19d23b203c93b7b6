"""Lines of the log about a request, the same for every port."""

from __future__ import annotations

import structlog

from lading.errors.sentences import clipped
from lading.serve.telemetry.trace_context import TraceContext

LONGEST_PATH = 256
"""Characters of a path in a log line or a span."""

log = structlog.get_logger("lading.request")


def log_fields(path: str, request_id: str, trace: TraceContext | None) -> dict[str, str]:
    """A request's path, id, trace and span, under the names that OpenTelemetry uses."""
    fields = {"path": clipped(path, LONGEST_PATH), "request_id": request_id}
    return fields if trace is None else {**fields, "trace_id": trace.trace_id, "span_id": trace.span_id}


def log_request(
    method: str, path: str, status: int, *, seconds: float, request_id: str, trace: TraceContext | None
) -> None:
    """Write one line of the access log."""
    ms = round(seconds * 1e3, 3)
    log.info("request", method=method, status=int(status), ms=ms, **log_fields(path, request_id, trace))
