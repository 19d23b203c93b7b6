"""What surrounds every request: its id, the count and duration of inference requests, and the last net for errors."""

from __future__ import annotations

import time
from collections.abc import Collection
from http import HTTPStatus

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lading.metrics import Metrics
from lading.serve.errors import UNEXPECTED, error_response
from lading.serve.request_id import HEADER, assign_request_id

log = structlog.get_logger("lading.request")

CLIENT_WENT_AWAY = 499  # nginx's code; never sent, only counted


class Observe:
    """ASGI middleware around the whole app.

    Args:
        app: what answers.
        metrics: where inference requests are counted.
        inference_paths: which paths those are; probes and the page are not counted.
        access_log: write one line a request.
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, inference_paths: Collection[str], *, access_log: bool = False
    ) -> None:
        self.app = app
        self.metrics = metrics
        self.inference_paths = frozenset(inference_paths)
        self.access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        assigned = assign_request_id(scope)
        counted = scope["path"] in self.inference_paths
        begin = time.perf_counter()
        status = CLIENT_WENT_AWAY

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((HEADER, assigned.encode()))
            await send(message)

        if counted:
            self.metrics.requests_in_flight.inc()
        try:
            await self.app(scope, receive, send_with_id)
        except ClientDisconnect:
            log.debug("the client went away", request_id=assigned, path=scope["path"])
        except Exception:
            log.exception("unexpected error", request_id=assigned, path=scope["path"])
            if status == CLIENT_WENT_AWAY:
                response = error_response(scope, HTTPStatus.INTERNAL_SERVER_ERROR, UNEXPECTED)
                await response(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - begin
            if counted:
                self.metrics.requests_in_flight.dec()
                self.metrics.answered("http", status, seconds)
            if self.access_log:
                log.info(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    ms=round(seconds * 1e3, 3),
                    request_id=assigned,
                )
