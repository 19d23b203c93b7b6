"""The inference endpoints over HTTP: ``/classify``, ``/predict``, ``/predict/FORM`` and ``/v2/models/.../infer``.

Every request takes this path, so it is plain ASGI: a router and middlewares cost as much as a small model.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache, partial
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from lading.budget import Budget
from lading.errors import LadingError
from lading.errors.sentences import clipped
from lading.protocol.codec import Codec, Encoded
from lading.protocol.oip_rest import OipRestCodec
from lading.protocol.plain import ClassifyCodec, PlainModel, PredictCodec
from lading.protocol.texts import TextCodec, TextForm
from lading.serve.backend import Backend
from lading.serve.call import Call
from lading.serve.http.body import BoundedReceive, Compressed, Kind, check_length, declared_length, read_body
from lading.serve.http.errors import error_answer
from lading.serve.outcome import Outcome, Reply
from lading.serve.request import InferenceRequest
from lading.serve.telemetry.request_log import LONGEST_PATH
from lading.serve.telemetry.trace_context import TRACEPARENT, caller_in

HttpOutcome = Outcome[Encoded]
WORTH_WATCHING_S = 0.02
"""A request that will wait longer than this is dropped when its client goes away. Watching a client costs a task."""
_V2 = "/v2/models/"
_INFER = "/infer"
_NO_QUERY: Mapping[str, str] = {}
_NO_ATTRIBUTES: Mapping[str, str | int] = {}


class Endpoints:
    """All inference endpoints, by path.

    Args:
        backend: what their calls use.
        forms: of text; each gets the path ``/predict/NAME``.
    """

    def __init__(self, backend: Backend, forms: Iterable[TextForm]) -> None:
        self._plain = {
            "/classify": InferenceEndpoint(backend, ClassifyCodec, "http", "/classify"),
            "/predict": InferenceEndpoint(backend, PredictCodec, "http", "/predict"),
        }
        for form in forms:
            path = f"/predict/{form.name}"
            self._plain[path] = InferenceEndpoint(backend, partial(TextCodec, form=form), "http", path)
        self._v2 = InferenceEndpoint(backend, OipRestCodec, "v2", "/v2/models/{name}/infer")

    def at(self, path: str) -> InferenceEndpoint | None:
        """The endpoint that answers a ``POST`` to a path; ``None`` where that is no inference."""
        return self._plain.get(path) or (self._v2 if model_in(path) else self._plain.get(without_slash(path)))


class InferenceEndpoint:
    """An ASGI app, and the same without ASGI for a server that reads bodies itself.

    Args:
        backend: what its calls use.
        kind: makes the codec of a request.
        protocol: label of the metrics: ``http`` or ``v2``.
        route: its path, with names for the parts that vary.
    """

    def __init__(self, backend: Backend, kind: Kind, protocol: str, route: str) -> None:
        self._backend = backend
        self._kind = kind
        self._protocol = protocol
        self._route = route
        self._max_body_bytes = backend.settings.max_body_bytes
        self._named = backend.names_requests
        self._cors = bool(backend.settings.cors_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answered: asyncio.Future[HttpOutcome] = asyncio.get_running_loop().create_future()

        def reply(outcome: HttpOutcome) -> int:
            if not answered.done():
                answered.set_result(outcome)
            return len((outcome.answer or error_answer(outcome)).body)

        headers = dict(scope["headers"])
        call = self._call(scope, headers, declared_length(headers), reply)
        try:
            if call.open():
                await self._submit(call, receive, answered)
            outcome = await answered
        except ClientDisconnect:
            return
        finally:
            call.leave()
        described, body = outcome.answer or error_answer(outcome)
        sent = [*described, *outcome.ids, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": outcome.status, "headers": sent})
        await send({"type": "http.response.body", "body": body})

    def short_call(
        self, scope: Scope, headers: dict[bytes, bytes], reply: Reply[Encoded]
    ) -> Call[bytes, Encoded] | None:
        """A call that a server can make without ASGI, which gives :meth:`Call.submit` the body in one piece.

        Args:
            scope: ASGI's.
            headers: its headers by name.
            reply: gets the outcome.

        Returns:
            ``None`` when the length of the body is unknown or above the limit, or the answer needs headers for a page
            of another origin.
        """
        if self._cors and b"origin" in headers:
            return None
        size = declared_length(headers)
        if size > self._max_body_bytes or (size == 0 and b"content-length" not in headers):
            return None
        return self._call(scope, headers, size, reply)

    def _call(
        self, scope: Scope, headers: dict[bytes, bytes], size: int, reply: Reply[Encoded]
    ) -> Call[bytes, Encoded]:
        begin = time.perf_counter()
        path, raw = scope["path"], scope.get("query_string", b"")
        query = dict(parse_qsl(raw.decode("latin-1"))) if raw else _NO_QUERY
        named = model_in(path) if self._protocol == "v2" else None
        model, version = named or (query.get("model"), None)
        version = version or query.get("version")
        name, attributes = "", _NO_ATTRIBUTES
        if self._named:
            name, attributes = self._names(scope, path, headers)
        request = InferenceRequest(
            self._protocol,
            scope["method"],
            path,
            headers,
            begin,
            model,
            version,
            query.get("variant"),
            size,
            caller=caller_in(scope["headers"]) if TRACEPARENT in headers else None,
            span_name=name,
            span_attributes=attributes,
        )
        kind = self._kind if headers.get(b"content-encoding", b"identity") == b"identity" else self._compressed
        if size > self._max_body_bytes:
            kind = partial(_too_large, size, self._max_body_bytes)
        return Call(self._backend, request, kind, reply)

    def _names(self, scope: Scope, path: str, headers: Mapping[bytes, bytes]) -> tuple[str, Mapping[str, str | int]]:
        """Name and attributes of the span."""
        from lading.serve.telemetry.conventions import http_request

        method, scheme, version = scope["method"], scope.get("scheme", "http"), scope.get("http_version", "1.1")
        host, shown = headers.get(b"host", b""), clipped(path, LONGEST_PATH)
        return f"{method} {self._route}", http_request(scheme, method, self._route, shown, host=host, version=version)

    async def _submit(
        self, call: Call[bytes, Encoded], receive: Receive, answered: asyncio.Future[HttpOutcome]
    ) -> None:
        """Read the body and submit it; return early where its client is worth watching no longer.

        Raises:
            ClientDisconnect: the client went away.
        """
        timeout_s = min(self._backend.settings.body_timeout_s, call.deadline - call.request.begin)
        try:
            body = await read_body(BoundedReceive(receive, self._max_body_bytes, timeout_s, call.reserve))
        except LadingError as error:
            call.done(error)
            return
        call.submit(body, body.size)
        if answered.done() or self._backend.engine.wait_seconds < WORTH_WATCHING_S:
            return
        gone = asyncio.ensure_future(receive())
        either: set[asyncio.Future[Any]] = {answered, gone}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not answered.done():
                raise ClientDisconnect
        finally:
            gone.cancel()

    def _compressed(self, model: PlainModel, headers: Mapping[bytes, bytes], budget: Budget) -> Codec[bytes, Encoded]:
        codec = self._kind(model, headers, budget)
        encoding = headers[b"content-encoding"]
        # A few bytes inflate to many, so the limit is the model's own where that is lower.
        limit = int(min(self._max_body_bytes, model.largest_body))
        return Compressed(codec, encoding, limit) if encoding else codec


def _too_large(size: int, limit: int, *_: object) -> Codec[bytes, Encoded]:
    """Stands for the kind of codec of a body that is not read."""
    check_length(size, limit)
    raise AssertionError


@lru_cache(64)
def model_in(path: str) -> tuple[str, str | None] | None:
    """Name and version in ``/v2/models/NAME[/versions/VERSION]/infer``; ``None`` for another path."""
    if not path.endswith(_INFER):
        path = without_slash(path)
    if not (path.startswith(_V2) and path.endswith(_INFER)):
        return None
    match path[len(_V2) : -len(_INFER)].split("/"):
        case [name] if name:
            return name, None
        case [name, "versions", version] if name and version:
            return name, version
    return None


def without_slash(path: str) -> str:
    """The path that is answered for a path: every one may end in a slash."""
    return path.rstrip("/") or "/"
