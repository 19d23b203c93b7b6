"""A request as its headers describe it: model, deadline and id."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import NamedTuple

from lading.errors import RequestError
from lading.errors.sentences import shown
from lading.record.exchange import USABLE_ID
from lading.serve.telemetry.trace_context import TraceContext

REQUEST_ID = b"x-request-id"
DEADLINE = b"x-request-timeout-ms"


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
    """The timeout of gRPC; the header ``x-request-timeout-ms`` may shorten it. Without both, the setting applies."""
    message_id: str = ""
    """The id inside the message, where the message is known before the call."""
    streamed: bool = False
    """The headers belong to a stream of requests."""
    caller: TraceContext | None = None
    """The client's span."""
    span_name: str = ""
    """Empty where neither spans nor OpenTelemetry's metrics are sent."""
    span_attributes: Mapping[str, str | int] = {}


def wanted_seconds(headers: Mapping[bytes, bytes]) -> float:
    """The header ``x-request-timeout-ms``, in seconds; infinite without it.

    Raises:
        RequestError: it is no number above 0.
    """
    sent = headers.get(DEADLINE)
    if sent is None:
        return math.inf
    try:
        value = float(sent)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise RequestError(f"x-request-timeout-ms is {shown(sent)}: send the milliseconds, above 0")
    return value / 1e3


def choose_id(sent: bytes | None, message_id: str, trace: TraceContext | None) -> str:
    """The id of a request: the header ``x-request-id``, the message's id, the trace, or a new one; the first usable.

    Usable are 1 to 128 letters, digits and ``._:/+=@-``, the first a letter or a digit.
    """
    if sent is not None and USABLE_ID.fullmatch(header := sent.decode("latin-1")):
        return header
    if message_id and USABLE_ID.fullmatch(message_id):
        return message_id
    return trace.trace_id if trace is not None else os.urandom(16).hex()
