"""Every error as one JSON shape: ``{"error": sentence, "status": 400, "request_id": "..."}``."""

from __future__ import annotations

from http import HTTPStatus

import orjson
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from lading.errors import LadingError, NotReadyError, OverloadedError, UnauthorizedError
from lading.serve.request_id import log_ids, request_id

log = structlog.get_logger("lading.request")

UNEXPECTED = "something went wrong in the server; its log has the details under this request id"


def error_body(scope: Scope, status: int, sentence: str) -> bytes:
    """One error, as a client reads it."""
    return orjson.dumps({"error": sentence, "status": int(status), "request_id": request_id(scope)})


def error_headers(error: LadingError) -> list[tuple[bytes, bytes]]:
    """What a client should do about it, in a header."""
    if isinstance(error, OverloadedError):
        return [(b"retry-after", str(error.retry_after_s).encode())]
    if isinstance(error, NotReadyError):
        return [(b"retry-after", b"1")]
    if isinstance(error, UnauthorizedError):
        return [(b"www-authenticate", b"Bearer")]
    return []


def log_failure(error: LadingError, scope: Scope) -> None:
    """Log an error that is the server's and not the client's."""
    if error.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("the request failed", reason=str(error), path=scope["path"], **log_ids(scope))


def error_response(scope: Scope, status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    """One error, as a client sees it."""
    return Response(error_body(scope, status, sentence), status, headers, media_type="application/json")


def lading_error(request: Request, error: Exception) -> Response:
    """Answer an error that was raised on purpose: its sentence, its status."""
    assert isinstance(error, LadingError)
    log_failure(error, request.scope)
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
