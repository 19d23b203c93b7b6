"""W3C Trace Context, in and out, over REST and gRPC, with tracing off."""

from __future__ import annotations

from typing import Any

from lading.serve.telemetry.trace_context import TraceContext, read_trace_context

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
BODY = {"features": [[1, 2, 3, 4]]}


def answered(headers: Any) -> TraceContext:
    context = read_trace_context(headers["traceparent"].encode(), headers.get("tracestate", "").encode())
    assert context is not None
    return context
