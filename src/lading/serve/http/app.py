"""The lean ASGI app: every HTTP endpoint. Runs by itself, and inside the BentoML service.

Inference requests go by the shortest way to :class:`InferenceEndpoint`; everything else goes through Starlette.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from lading.artifact import Artifact
from lading.errors import LadingError, NotReadyError, SettingsError
from lading.protocol.describe import describe_model
from lading.protocol.plain import text_forms
from lading.serve.call import Backend
from lading.serve.engine.engine import Engine
from lading.serve.engine.repository import Repository
from lading.serve.health import Health, WorkerGroup
from lading.serve.http.endpoint import Endpoints
from lading.serve.http.errors import http_error, lading_error
from lading.serve.http.observe import Observe
from lading.serve.http.oip import v2_routes
from lading.serve.http.openapi import openapi
from lading.serve.http.recording import Recording
from lading.serve.keys import Keys, certificate_expiry
from lading.serve.metrics import CONTENT_TYPE, Metrics
from lading.serve.pages.history import History
from lading.serve.pages.page import PAGE, content_security_policy
from lading.serve.pages.status import POLICY, status_page
from lading.settings import Settings

if TYPE_CHECKING:
    from lading.serve.tracing import Tracing

Endpoint = Callable[[Request], Awaitable[Response]]


class App:
    """The models, the engine that runs them, and the endpoints; one for all ports of a process.

    Models are loaded and checked by :meth:`start`, while ``/livez`` answers already and ``/readyz`` says what is
    missing.

    Args:
        settings: read from the environment by default.
        artifacts: what to serve; those that the settings name by default.

    Raises:
        SettingsError: no artifact is named, the file of keys cannot be used, or tracing is on and not installed.
        ArtifactError: an artifact is incomplete or edited, or has no such variant.
    """

    def __init__(self, settings: Settings | None = None, *, artifacts: Sequence[Artifact] = ()) -> None:
        self.settings = settings or Settings()
        group = WorkerGroup.from_environment(self.settings.workers)
        self.metrics = Metrics(group.pids if group else None)
        self.engine = Engine(self.settings, self.metrics)
        self.repository = Repository(self.settings, self.metrics, self.engine, artifacts)
        self.health = Health(self.engine, self.repository, self.metrics, group)
        self.history = History(self.metrics)
        self.keys = Keys(self.settings.api_keys, self.metrics.key_expiry) if self.settings.api_keys else None
        if self.settings.tls_certificate is not None:
            file = self.settings.tls_certificate
            self.metrics.certificate_expiry.labels(file.name).set(certificate_expiry(file))
        self.tracing = _tracing(self.settings)
        self.recording = Recording(self.settings, self.metrics.registry, self.repository)
        self.backend = Backend(
            self.settings,
            self.keys,
            self.repository,
            self.engine,
            self.metrics,
            self.tracing,
            self.recording.record,
        )
        self.text_forms = text_forms(self.settings.text_forms, self.repository.find().info)
        self.endpoint_at = Endpoints(self.backend, self.text_forms).at
        self._rest = self._starlette()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            endpoint = self.endpoint_at(scope["path"])
            if endpoint is not None:
                await endpoint(scope, receive, send)
                return
        await self._rest(scope, receive, send)

    async def start(self) -> None:
        """Start the lanes and load the models."""
        self.engine.start()
        self.health.start()
        self.history.start()
        await self.repository.start()
        self.recording.start()
        if self.repository.ready:
            self.metrics.started()

    def prepare_to_stop(self) -> None:
        """Say on every port that this server is not ready, so that nothing more is sent to it."""
        self.repository.stopping = True

    async def stop(self) -> None:
        """Refuse new requests, and return when every accepted one has been answered."""
        await self.engine.stop()
        await self.health.stop()
        await asyncio.to_thread(self.recording.stop)
        await self.history.stop()
        self.repository.stop()
        if self.tracing is not None:
            await asyncio.to_thread(self.tracing.close)

    def _starlette(self) -> Starlette:
        served = self.repository.find()
        document = openapi(served.artifact, served.packed, served.info.classifier, self.settings, self.text_forms)
        description = describe_model(served.artifact, served.packed, served.info.classifier, self.text_forms)
        app = Starlette(
            routes=[
                Route("/", _fixed(PAGE.encode(), "text/html", {"content-security-policy": content_security_policy()})),
                Route("/classify", _not_allowed, methods=["POST"]),
                Route("/predict", _not_allowed, methods=["POST"]),
                *(Route(f"/predict/{form.name}", _not_allowed, methods=["POST"]) for form in self.text_forms),
                Route("/v2/models/{name}/infer", _not_allowed, methods=["POST"]),
                Route("/v2/models/{name}/versions/{version}/infer", _not_allowed, methods=["POST"]),
                *v2_routes(self.engine, self.repository, self.health),
                *self.recording.routes(),
                Route("/model", _fixed(orjson.dumps(description), "application/json")),
                Route("/docs.json", _fixed(orjson.dumps(document), "application/json")),
                Route("/livez", self._livez),
                Route("/readyz", self._readyz),
                Route("/metrics", self._exposition),
                Route("/status", self._status),
            ],
            middleware=[Middleware(Observe, keys=self.keys, access_log=self.settings.access_log)],
            exception_handlers={LadingError: lading_error, HTTPException: http_error},
        )
        # A redirect would lead a client behind a proxy to an address that only the pod knows.
        app.router.redirect_slashes = False
        return app

    async def _livez(self, _: Request) -> Response:
        if not self.health.alive:
            raise NotReadyError("a lane has died, or has been in one run for too long, or a worker is missing")
        return Response(b"alive\n", media_type="text/plain")

    async def _readyz(self, _: Request) -> Response:
        if not self.health.ready:
            raise NotReadyError(f"not ready: {self.health.not_ready_because}")
        return Response(b"ready\n", media_type="text/plain")

    async def _exposition(self, _: Request) -> Response:
        if self.keys is not None:
            self.keys.look_again()
        return Response(self.metrics.exposition(), media_type=CONTENT_TYPE)

    async def _status(self, _: Request) -> Response:
        page = status_page(self.repository, self.health, self.metrics, self.history.intervals())
        headers = {"x-content-type-options": "nosniff", "cache-control": "no-store", "content-security-policy": POLICY}
        return Response(page, headers=headers, media_type="text/html")


def _tracing(settings: Settings) -> Tracing | None:
    if not settings.tracing:
        return None
    try:
        from lading.serve.tracing import Tracing
    except ImportError:
        raise SettingsError("LADING_TRACING needs the extra otel: pip install 'lading[otel]'") from None
    return Tracing(settings)


async def _not_allowed(_: Request) -> Response:
    """Never reached: POST is answered before; the route says so to every other method."""
    raise AssertionError


def _fixed(content: bytes, media_type: str, headers: dict[str, str] | None = None) -> Endpoint:
    sent = {"x-content-type-options": "nosniff", "cache-control": "no-cache"} | (headers or {})

    async def fixed(_: Request) -> Response:
        return Response(content, headers=sent, media_type=media_type)

    return fixed
