"""W3C Trace Context: which trace a request belongs to, in HTTP headers and gRPC metadata.

https://www.w3.org/TR/trace-context/. An invalid header is passed over, as if none had come.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

TRACEPARENT = b"traceparent"
TRACESTATE = b"tracestate"
_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MEMBER = re.compile(rb"[a-z0-9][a-z0-9_*/@-]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")
_MOST_MEMBERS = 32
_KNOWN_FLAGS = 0x03  # sampled, and level 2's "the trace id is random"
_SAMPLED = 0x01


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A place in a trace: a span, and the trace that it belongs to."""

    trace_id: str
    """32 lower-case hexadecimal digits, not all zero."""
    span_id: str
    """16 of them."""
    flags: int = 0
    state: str = ""
    """What tracing systems carry along, as it came."""

    @property
    def sampled(self) -> bool:
        """The caller records this trace."""
        return bool(self.flags & _SAMPLED)

    @property
    def traceparent(self) -> str:
        """The header's value, in version 00."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"

    def own_span(self) -> TraceContext:
        """The same trace with a span id of this server's."""
        return replace(self, span_id=os.urandom(8).hex())

    def headers(self) -> list[tuple[bytes, bytes]]:
        """As HTTP headers."""
        headers = [(TRACEPARENT, self.traceparent.encode())]
        return [*headers, (TRACESTATE, self.state.encode())] if self.state else headers


def read_trace_context(traceparent: bytes, tracestate: bytes = b"") -> TraceContext | None:
    """The caller's place in its trace; ``None`` when ``traceparent`` is none.

    Args:
        traceparent: the header's value.
        tracestate: the header's value; values of several headers are joined with a comma.
    """
    found = _PARENT.fullmatch(traceparent.strip())
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == b"ff" or (version == b"00" and more) or not (trace_id.strip(b"0") and span_id.strip(b"0")):
        return None
    return TraceContext(trace_id.decode(), span_id.decode(), int(flags, 16) & _KNOWN_FLAGS, _state(tracestate))


def caller_in(headers: Iterable[tuple[bytes, bytes]]) -> TraceContext | None:
    """The client's span as its headers or metadata name it; ``None`` when they do not.

    Args:
        headers: pairs of name, in lower case, and value; ``tracestate`` may come several times.
    """
    parent, states = None, []
    for name, value in headers:
        if name == TRACEPARENT:
            parent = value
        elif name == TRACESTATE:
            states.append(value)
    return None if parent is None else read_trace_context(parent, b",".join(states))


def _state(sent: bytes) -> str:
    members = [member.strip() for member in sent.split(b",") if member.strip()]
    keys = {member.partition(b"=")[0] for member in members}
    whole = len(keys) == len(members) <= _MOST_MEMBERS and all(_MEMBER.fullmatch(member) for member in members)
    return b",".join(members).decode() if whole else ""
