"""Every error over HTTP has one JSON shape: ``{"error": sentence, "status": 400, "request_id": "..."}``."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from lading.errors import LadingError, NotReadyError, OverloadedError, UnauthorizedError
from lading.protocol.codec import JSON, Encoded
from lading.serve.call import Outcome

REQUEST_ID_KEY = "lading.request_id"
"""Where an ASGI scope holds the id of its request."""


def error_answer(outcome: Outcome[Any]) -> Encoded:
    """A failed inference call, as a client reads it."""
    body = orjson.dumps({"error": outcome.error, "status": int(outcome.status), "request_id": outcome.request_id})
    return Encoded([*JSON, *error_headers(outcome.cause)], body)


def error_headers(error: BaseException | None) -> list[tuple[bytes, bytes]]:
    """Headers that tell a client what to do about an error."""
    if isinstance(error, OverloadedError):
        return [(b"retry-after", str(error.retry_after_s).encode())]
    if isinstance(error, NotReadyError):
        return [(b"retry-after", b"1")]
    if isinstance(error, UnauthorizedError):
        return [(b"www-authenticate", b"Bearer")]
    return []


def error_response(scope: Scope, status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    """An error of an endpoint that is no inference."""
    content = {"error": sentence, "status": int(status), "request_id": scope.get(REQUEST_ID_KEY, "")}
    return Response(orjson.dumps(content), status, headers, media_type="application/json")


def lading_error(request: Request, error: Exception) -> Response:
    """Answer an error of this package: its sentence, its status."""
    assert isinstance(error, LadingError)
    headers = {name.decode(): value.decode() for name, value in error_headers(error)}
    return error_response(request.scope, error.status, str(error), headers)


def http_error(request: Request, error: Exception) -> Response:
    """Answer what the router refused: no such path, or not that method."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    sentence = error.detail
    if error.status_code == HTTPStatus.NOT_FOUND and sentence == HTTPStatus.NOT_FOUND.phrase:
        sentence = f"there is nothing at {request.url.path}; / is a page, and /docs.json lists the endpoints"
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        sentence = f"{request.url.path} does not take {request.method}; it takes {headers.get('Allow', '').strip()}"
    return error_response(request.scope, error.status_code, sentence, headers)
