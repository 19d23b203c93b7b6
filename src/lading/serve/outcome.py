"""What became of a call: an answer, or the status and the sentence of an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from lading.errors import LadingError, forget_frames
from lading.errors.sentences import clipped
from lading.serve.telemetry.request_log import log, log_fields
from lading.serve.telemetry.trace_context import TraceContext
from lading.spec import Array

CLIENT_WENT_AWAY = 499  # nginx's code; counted, never sent
GONE = Exception("the client went away")
"""Ends a call whose client no longer waits for its answer."""
UNEXPECTED = "something went wrong in the server; its log has the details under this request id"

Answer = TypeVar("Answer")


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


def failed(
    error: BaseException, request_id: str, ids: list[tuple[bytes, bytes]], path: str, trace: TraceContext | None
) -> Outcome[Any]:
    """The outcome of an error, which is logged where the server is to blame."""
    known = log_fields(path, request_id, trace)
    if error is GONE:
        log.debug("the client went away", **known)
        return Outcome(CLIENT_WENT_AWAY, request_id, ids, None, cause=error)
    if not isinstance(error, LadingError):
        log.error("unexpected error", exc_info=error, **known)
        forget_frames(error)
        return Outcome(HTTPStatus.INTERNAL_SERVER_ERROR, request_id, ids, None, error=UNEXPECTED, cause=error)
    if error.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("the request failed", reason=str(error), **known)
    forget_frames(error)
    return Outcome(error.status, request_id, ids, None, error=clipped(str(error)), cause=error)
