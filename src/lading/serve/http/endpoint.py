"""The inference endpoints over HTTP: ``/classify``, ``/predict``, ``/predict/FORM`` and ``/v2/models/.../infer``.

Every request takes this path, so it is plain ASGI: a router and middlewares cost as much as a small model.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from lading.errors import LadingError
from lading.protocol.codec import Codec, Encoded
from lading.protocol.oip_rest import OipRestCodec
from lading.protocol.plain import ClassifyCodec, JsonCodec, PlainModel, TextCodec, TextForm
from lading.serve.call import Backend, Call, InferenceRequest, Outcome, Reply
from lading.serve.http.body import Compressed, Kind, read_body
from lading.serve.http.errors import error_answer
from lading.serve.trace_context import TRACEPARENT, caller_in

log = structlog.get_logger("lading.request")

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
            "/predict": InferenceEndpoint(backend, JsonCodec, "http", "/predict"),
        }
        for form in forms:
            path = f"/predict/{form.name}"
            self._plain[path] = InferenceEndpoint(backend, partial(TextCodec, form=form), "http", path)
        self._v2 = InferenceEndpoint(backend, OipRestCodec, "v2", "/v2/models/{name}/infer")

    def at(self, path: str) -> InferenceEndpoint | None:
        """The endpoint that answers a ``POST`` to a path; ``None`` where that is no inference."""
        return self._plain.get(path) or (self._v2 if model_in(path) else None)


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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answered: asyncio.Future[HttpOutcome] = asyncio.get_running_loop().create_future()

        def reply(outcome: HttpOutcome) -> int:
            if not answered.done():
                answered.set_result(outcome)
            return len((outcome.answer or error_answer(outcome)).body)

        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        call = self._call(scope, headers, int(length) if length.isdigit() else 0, reply)
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

    def short_call(self, scope: Scope, reply: Reply[Encoded]) -> Call[bytes, Encoded] | None:
        """A call that a server can make without ASGI, which gives :meth:`Call.submit` the body in one piece.

        Returns:
            ``None`` when the length of the body is unknown or above the limit.
        """
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        if not length.isdigit() or (size := int(length)) > self._max_body_bytes:
            return None
        return self._call(scope, headers, size, reply)

    def _call(
        self, scope: Scope, headers: dict[bytes, bytes], size: int, reply: Reply[Encoded]
    ) -> Call[bytes, Encoded]:
        begin = time.perf_counter()
        path, raw = scope["path"], scope.get("query_string", b"")
        query = dict(parse_qsl(raw.decode("latin-1"))) if raw else _NO_QUERY
        model, version = model_in(path) or (query.get("model"), query.get("version"))
        name, attributes = "", _NO_ATTRIBUTES
        if self._backend.tracing is not None:
            name = f"{scope['method']} {self._route}"
            attributes = {
                "http.request.method": scope["method"],
                "http.route": self._route,
                "url.path": path,
                "url.scheme": scope.get("scheme", "http"),
            }
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
        return Call(self._backend, request, kind, reply)

    async def _submit(
        self, call: Call[bytes, Encoded], receive: Receive, answered: asyncio.Future[HttpOutcome]
    ) -> None:
        """Read the body and submit it; return early where its client is worth watching no longer.

        Raises:
            ClientDisconnect: the client went away.
        """
        settings = self._backend.settings
        try:
            body = await read_body(receive, call.request.size, self._max_body_bytes, settings.body_timeout_s)
        except LadingError as error:
            call.done(error)
            return
        call.submit(body, len(body))
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

    def _compressed(self, model: PlainModel, headers: Mapping[bytes, bytes], max_pixels: int) -> Codec[bytes, Encoded]:
        codec = self._kind(model, headers, max_pixels)
        encoding = headers[b"content-encoding"]
        return Compressed(codec, encoding, self._max_body_bytes) if encoding else codec


def model_in(path: str) -> tuple[str, str | None] | None:
    """Name and version in ``/v2/models/NAME[/versions/VERSION]/infer``; ``None`` for another path."""
    if not (path.startswith(_V2) and path.endswith(_INFER)):
        return None
    match path[len(_V2) : -len(_INFER)].split("/"):
        case [name] if name:
            return name, None
        case [name, "versions", version] if name and version:
            return name, version
    return None
