"""Every error as one JSON shape: ``{"error": sentence, "status": 400, "request_id": "..."}``."""

from __future__ import annotations

from http import HTTPStatus

import orjson
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from lading.errors import LadingError, NotReadyError, OverloadedError
from lading.serve.request_id import request_id

log = structlog.get_logger("lading.request")

UNEXPECTED = "something went wrong in the server; its log has the details under this request id"


def error_response(scope: Scope, status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    """One error, as a client sees it."""
    content = {"error": sentence, "status": int(status), "request_id": request_id(scope)}
    return Response(orjson.dumps(content), status, headers, media_type="application/json")


def lading_error(request: Request, error: Exception) -> Response:
    """Answer an error that was raised on purpose: its sentence, its status."""
    assert isinstance(error, LadingError)
    headers = {}
    if error.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("the request failed", reason=str(error), request_id=request_id(request.scope), path=request.url.path)
    if isinstance(error, OverloadedError):
        headers["retry-after"] = str(error.retry_after_s)
    elif isinstance(error, NotReadyError):
        headers["retry-after"] = "1"
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
