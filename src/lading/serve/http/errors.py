"""Every error over HTTP has one JSON shape: ``{"error": sentence, "status": 400, "request_id": "..."}``."""

from __future__ import annotations

import difflib
import re
from http import HTTPStatus
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from lading.errors import LadingError, LateBodyError, NotReadyError, OverloadedError, UnauthorizedError
from lading.errors.sentences import clipped
from lading.protocol.codec import JSON, Encoded
from lading.serve.outcome import Outcome

LONGEST_PATH = 200
"""Characters of a path in an error."""
REQUEST_ID_KEY = "lading.request_id"
"""Where an ASGI scope holds the id of its request."""


def error_answer(outcome: Outcome[Any]) -> Encoded:
    """A failed inference call, as a client reads it."""
    body = orjson.dumps({"error": outcome.error, "status": int(outcome.status), "request_id": outcome.request_id})
    return Encoded([*JSON, *error_headers(outcome.cause)], body)


def last_answer(status: HTTPStatus, sentence: str, headers: list[tuple[bytes, bytes]]) -> bytes:
    """An error as bytes, for a request that no endpoint has seen. The connection ends with it.

    Args:
        status: of the answer.
        sentence: for the client.
        headers: that every answer has.
    """
    body = orjson.dumps({"error": sentence, "status": int(status), "request_id": ""})
    sent = [*headers, *JSON, (b"connection", b"close"), (b"content-length", b"%d" % len(body))]
    return b"".join((STATUS_LINE[status], *(b"%s: %s\r\n" % header for header in sent), b"\r\n", body))


def error_headers(error: BaseException | None) -> list[tuple[bytes, bytes]]:
    """Headers that tell a client what to do about an error."""
    if isinstance(error, OverloadedError):
        return [(b"retry-after", str(error.retry_after_s).encode())]
    if isinstance(error, NotReadyError):
        return [(b"retry-after", b"1")]
    if isinstance(error, LateBodyError):
        return [(b"connection", b"close")]
    if isinstance(error, UnauthorizedError):
        return [(b"www-authenticate", b"Bearer")]
    return []


def error_response(scope: Scope, status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    """An error of an endpoint that is no inference."""
    content = {"error": clipped(sentence), "status": int(status), "request_id": scope.get(REQUEST_ID_KEY, "")}
    return Response(orjson.dumps(content), status, headers, media_type="application/json")


# Both are coroutines. Starlette calls a plain function in a thread, and at the first time imports what that needs: the
# event loop waits 50 ms for it.
async def lading_error(request: Request, error: Exception) -> Response:
    """Answer an error of this package: its sentence, its status."""
    assert isinstance(error, LadingError)
    headers = {name.decode(): value.decode() for name, value in error_headers(error)}
    return error_response(request.scope, error.status, str(error), headers)


async def http_error(request: Request, error: Exception) -> Response:
    """Answer what the router refused: no such path, or not that method. ``OPTIONS`` asks which there are."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    sentence = error.detail
    if error.status_code == HTTPStatus.NOT_FOUND and sentence == HTTPStatus.NOT_FOUND.phrase:
        path = clipped(request.url.path, LONGEST_PATH)
        sentence = f"there is nothing at {path}{_elsewhere(request)}; / is a page, and /docs.json lists the endpoints"
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        path, method = clipped(request.url.path, LONGEST_PATH), clipped(request.method, 20)
        taken = ", ".join(sorted(part.strip() for part in headers.get("Allow", "").split(",")))
        if method == "OPTIONS":  # a question, and HAProxy's default health check
            return Response(status_code=HTTPStatus.NO_CONTENT, headers={"allow": f"{taken}, OPTIONS"})
        sentence = f"{path} does not take {method}; it takes {taken}"
        if method == "POST" and path.startswith("/v2/models/"):
            sentence += "; inference is POST /v2/models/NAME/infer"
    return error_response(request.scope, error.status_code, sentence, headers)


_NAME = r"/([\w.-]{1,60})"
_PATHS = (
    (rf"/v1/models{_NAME}(/versions/[^/:]*)?:\w+", "/predict?model={0} or /v2/models/{0}/infer"),
    (rf"/v1/models{_NAME}", "GET /v2/models/{0}"),
    (rf"/v2/models?{_NAME}(/versions/[^/]*)?/\w+", "/v2/models/{0}/infer"),
    (rf"/predictions{_NAME}", "/predict?model={0} or /v2/models/{0}/infer"),
    (r"/(invocations|predictions|score|run|infer|inference|generate|api/.*|v2/infer|v1/.*)", "/predict"),
    (r"/(models|v1)", "/v2/models"),
    (r"/(ping|live|liveness|health.*|actuator/health|v2/health)", "/livez or /readyz"),
    (r"/(ready|readiness)", "/readyz"),
    (r"/(docs|redoc|swagger.*|openapi.*|schema|api)", "/docs.json"),
    (r"/(prometheus|actuator/prometheus|stats)", "/metrics"),
)
"""Paths of other servers, and those that answer the same here."""


def _elsewhere(request: Request) -> str:
    """Where the client most likely wanted to go; it begins with a semicolon."""
    path = request.url.path[:LONGEST_PATH].rstrip("/")
    for pattern, here in _PATHS:
        if found := re.fullmatch(pattern, path, re.IGNORECASE):
            return f"; the path here is {here.format(*found.groups())}"
    fixed = [route.path for route in request.app.routes if isinstance(route, Route) and "{" not in route.path]
    near = difflib.get_close_matches(path.partition("&")[0], fixed, n=1, cutoff=0.75)
    return f"; the closest path is {near[0]}" if near else ""
