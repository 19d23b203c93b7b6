"""The ids that a request carries from the client through the log to the answer: its own, and its place in a trace."""

from __future__ import annotations

import os
import re

from starlette.types import Scope

from lading.serve.trace_context import TRACEPARENT, TRACESTATE, TraceContext, read_trace_context

HEADER = b"x-request-id"
_SCOPE_KEY = "lading.request_id"
_TRACE_KEY = "lading.trace"
# What a log line or another service's header can hold without quoting.
_VALID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")


def usable_request_id(sent: bytes | None) -> str | None:
    """The id that a client sent, unless it is unusable.

    Usable is: 1 to 128 letters, digits and ``._:/+=@-``, the first a letter or a digit.
    """
    return sent.decode() if sent is not None and _VALID.fullmatch(sent) else None


def assign_request_id(scope: Scope, sent: bytes | None, trace: TraceContext | None) -> str:
    """Keep the id that the client sent in ``x-request-id``; one that sent none is known by its trace, or by a new id.

    Args:
        scope: of ASGI; remembers both.
        sent: the header's value.
        trace: this server's span, when there is one.
    """
    assigned = usable_request_id(sent) or (trace.trace_id if trace else os.urandom(16).hex())
    scope[_SCOPE_KEY], scope[_TRACE_KEY] = assigned, trace
    return assigned


def caller_of(scope: Scope, headers: dict[bytes, bytes]) -> TraceContext | None:
    """The caller's place in its trace, when it sent one."""
    sent = headers.get(TRACEPARENT)
    if sent is None:
        return None
    return read_trace_context(sent, b",".join(value for name, value in scope["headers"] if name == TRACESTATE))


def request_id(scope: Scope) -> str:
    """The id of the request, once :func:`assign_request_id` has run."""
    return str(scope.get(_SCOPE_KEY, ""))


def log_ids(scope: Scope) -> dict[str, str]:
    """The ids of the request, as fields of a log line."""
    return ids(request_id(scope), scope.get(_TRACE_KEY))


def ids(request: str, trace: TraceContext | None) -> dict[str, str]:
    """A request's id, and trace and span where it has them, under the names that OpenTelemetry uses."""
    fields = {"request_id": request}
    return fields if trace is None else {**fields, "trace_id": trace.trace_id, "span_id": trace.span_id}
