"""One inference request over HTTP: its headers read once, its body bounded in bytes and in time."""

from __future__ import annotations

import asyncio
import math
import time
import zlib
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from lading.errors import BodyTooLargeError, ContentTypeError, ExpiredError, RequestError
from lading.serve.request_id import HEADER, assign_request_id, caller_of
from lading.serve.trace_context import TRACEPARENT
from lading.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lading.serve.engine.model import ServedModel, Stages
    from lading.serve.trace_context import TraceContext
    from lading.serve.tracing import RequestSpan, Tracing
    from lading.spec import Array

DEADLINE = b"x-request-timeout-ms"
_BARE_ENCODINGS = (b"", b"identity")
# zlib's window bits: 16 more for gzip's header; deflate is sent with zlib's header by some clients and bare by others.
_GZIP, _ZLIB, _BARE = 31, 15, -15


class HttpCall:
    """What an endpoint knows of its request.

    Args:
        scope: of ASGI.
        receive: of ASGI; gives the body.
        settings: limits.
        route: its path, with names for what varies.
        tracing: begins its span; ``None`` where tracing is off.
    """

    __slots__ = (
        "begin",
        "error",
        "headers",
        "id",
        "inputs",
        "model",
        "outputs",
        "receive",
        "received",
        "scope",
        "settings",
        "span",
        "trace",
    )

    def __init__(
        self, scope: Scope, receive: Receive, settings: Settings, route: str = "", tracing: Tracing | None = None
    ) -> None:
        self.begin = time.perf_counter()
        self.scope, self.receive, self.settings = scope, receive, settings
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        caller = caller_of(scope, self.headers) if TRACEPARENT in self.headers else None
        self.span = None if tracing is None else self._begin_span(tracing, route, caller)
        self.trace = self.span.context if self.span else caller and caller.own_span()
        """This server's place in the trace, when there is one."""
        self.id = assign_request_id(scope, self.headers.get(HEADER), self.trace)
        self.model: ServedModel | None = None
        """Whose metrics count it, once it is known."""
        self.received = 0
        """Bytes of the body so far."""
        self.inputs: Mapping[str, Array] | None = None
        self.outputs: Mapping[str, Array] | None = None
        self.error = ""

    def answer_headers(self, size: int) -> list[tuple[bytes, bytes]]:
        """What every answer carries: its ids, and its length in bytes."""
        headers = [(HEADER, self.id.encode()), (b"content-length", str(size).encode())]
        return headers if self.trace is None else headers + self.trace.headers()

    @property
    def content_type(self) -> str:
        """The media type without its parameters, in lower case; empty when there is none."""
        return self.headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters."""
        raw = self.scope.get("query_string", b"")
        return dict(parse_qsl(raw.decode("latin-1"))) if raw else {}

    @property
    def declared_bytes(self) -> int:
        """The body's length as the header says; 0 when it does not."""
        declared = self.headers.get(b"content-length", b"")
        return int(declared) if declared.isdigit() else 0

    @property
    def stages(self) -> Stages | None:
        """Where a lane notes when the request was where; ``None`` for one that is not traced."""
        return self.span.stages if self.span else None

    @property
    def encoded(self) -> bool:
        """Whether the body is compressed."""
        return self.headers.get(b"content-encoding", b"") not in _BARE_ENCODINGS

    def deadline(self) -> float:
        """When the answer is due, on ``time.perf_counter``, in seconds.

        Raises:
            RequestError: ``x-request-timeout-ms`` is no positive number.
        """
        sent = self.headers.get(DEADLINE)
        return self.begin + (self.settings.deadline_ms if sent is None else _milliseconds(sent)) / 1e3

    async def body(self) -> bytes:
        """Read the whole body.

        Raises:
            BodyTooLargeError: from the declared length, or as soon as more has come than allowed.
            ClientDisconnect: the client went away.
            ExpiredError: it did not come in time.
        """
        limit = self.settings.max_body_bytes
        if self.declared_bytes > limit:
            raise BodyTooLargeError(f"the body has {self.declared_bytes} bytes; at most {limit} are accepted")
        message = await self.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        first: bytes = message.get("body", b"")
        if not message.get("more_body", False):
            self.received = len(first)
            self._refuse_large(limit)
            return first
        try:
            async with asyncio.timeout(self.settings.body_timeout_s):
                return await self._rest(first, limit)
        except TimeoutError:
            raise self.late_body() from None

    def late_body(self) -> ExpiredError:
        """What is answered when the body takes too long."""
        return ExpiredError(f"the body did not arrive within {self.settings.body_timeout_s:g} s")

    def inflated(self, body: bytes) -> bytes:
        """Undo the body's ``content-encoding``, bounded as the body is. Takes time: runs in a lane.

        Raises:
            BodyTooLargeError: it inflates to more than a body may have.
            ContentTypeError: the encoding is neither gzip nor deflate.
            RequestError: the data are torn.
        """
        if not self.encoded:
            return body
        encoding = self.headers[b"content-encoding"].decode("latin-1").lower()
        return inflate(body, encoding, self.settings.max_body_bytes)

    def _begin_span(self, tracing: Tracing, route: str, caller: TraceContext | None) -> RequestSpan:
        known = {
            "http.request.method": self.scope["method"],
            "http.route": route,
            "url.path": self.scope["path"],
            "url.scheme": self.scope.get("scheme", "http"),
        }
        return tracing.begin(f"{self.scope['method']} {route}", caller, self.begin, known)

    async def _rest(self, first: bytes, limit: int) -> bytes:
        chunks, more = [first], True
        self.received = len(first)
        while more:
            self._refuse_large(limit)
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk: bytes = message.get("body", b"")
            chunks.append(chunk)
            self.received += len(chunk)
            more = message.get("more_body", False)
        self._refuse_large(limit)
        return b"".join(chunks)

    def _refuse_large(self, limit: int) -> None:
        if self.received > limit:
            raise BodyTooLargeError(f"the body has more than {limit} bytes, which is the most that is accepted")


def inflate(data: bytes, encoding: str, limit: int) -> bytes:
    """Decompress gzip or deflate into at most ``limit`` bytes.

    Raises:
        BodyTooLargeError, ContentTypeError, RequestError: as :meth:`HttpCall.inflated`.
    """
    windows: tuple[int, ...]
    if encoding in ("gzip", "x-gzip"):
        windows = (_GZIP,)
    elif encoding == "deflate":
        windows = (_ZLIB, _BARE) if data[:1] and data[0] & 0x0F == 8 else (_BARE,)
    else:
        raise ContentTypeError(f"the content encoding {encoding!r} is not read here: send gzip, deflate or neither")
    problem = "it is cut short"
    for window in windows:
        inflator = zlib.decompressobj(window)
        try:
            inflated = inflator.decompress(data, limit + 1)
        except zlib.error as error:
            problem = str(error)
            continue
        if len(inflated) > limit:
            raise BodyTooLargeError(f"the body inflates to more than {limit} bytes, which is the most that is accepted")
        if inflator.eof:
            return inflated
    raise RequestError(f"the body cannot be inflated as {encoding}: {problem}")


def _milliseconds(sent: bytes) -> float:
    try:
        value = float(sent)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise RequestError(f"x-request-timeout-ms is {sent.decode('latin-1')!r}: send the milliseconds, above 0")
    return value
