"""The lean ASGI app: every HTTP endpoint. Runs by itself, and inside the BentoML service.

Inference requests go by the shortest way to :class:`InferenceEndpoint`; everything else goes through Starlette.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from lading.artifact import Artifact
from lading.errors import LadingError, NotReadyError
from lading.protocol.texts import text_forms
from lading.serve.backend import Backend
from lading.serve.certificates import Certificates
from lading.serve.engine.engine import Engine
from lading.serve.engine.repository import Repository
from lading.serve.health import Health, WorkerGroup
from lading.serve.http.described import Described
from lading.serve.http.endpoint import Endpoints, without_slash
from lading.serve.http.errors import http_error, lading_error
from lading.serve.http.explorer import explorer_routes
from lading.serve.http.observe import Observe
from lading.serve.http.oip import v2_routes
from lading.serve.http.recording import Recording
from lading.serve.kept_answers import KeptAnswers
from lading.serve.keys import Keys
from lading.serve.pages.history import History
from lading.serve.pages.page import PAGE, content_security_policy
from lading.serve.pages.status import POLICY, status_page
from lading.serve.reread import Reread
from lading.serve.start_check import otel_missing
from lading.serve.telemetry.exposition import exposition
from lading.serve.telemetry.metrics import Metrics
from lading.serve.telemetry.statistics import Statistics
from lading.settings import Settings

if TYPE_CHECKING:
    from lading.serve.telemetry.otlp_metrics import OtlpMetrics
    from lading.serve.telemetry.tracing import Tracing

log = structlog.get_logger("lading.server")

Endpoint = Callable[[Request], Awaitable[Response]]
WRITE_S = 8.0
"""Seconds for the recorder, and for tracing, to write what they hold when the server stops."""


class App:
    """The models, the engine that runs them, and the endpoints; one for all ports of a process.

    Models are loaded and checked by :meth:`start`, while ``/livez`` answers already and ``/readyz`` says what is
    missing.

    Args:
        settings: read from the environment by default.
        artifacts: what to serve; those that the settings name by default.

    Raises:
        SettingsError: no artifact is named, the file of keys or the certificate cannot be used, or tracing is on and
            not installed.
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
        self.statistics = Statistics(self.repository, self.metrics)
        self.keys = Keys(self.settings.api_keys, self.metrics.key_expiry) if self.settings.api_keys else None
        self.certificates: Certificates | None = None
        self.rereading: list[Reread] = []
        unreadable = self.metrics.credentials_unreadable
        if self.keys is not None:
            self.rereading.append(Reread("keys", self.keys.read, unreadable))
        if self.settings.tls_certificate is not None and self.settings.tls_key is not None:
            self.certificates = Certificates(
                self.settings.tls_certificate, self.settings.tls_key, self.metrics.certificate_expiry
            )
            self.rereading.append(Reread("certificate", self.certificates.read, unreadable))
        self.tracing, self.otlp_metrics = _tracing(self.settings), _otlp_metrics(self.settings)
        self.recording = Recording(self.settings, self.metrics.registry, self.repository)
        self.repository.watch = self.recording.watch
        kept_bytes = int(self.settings.idempotency_mb * 1_000_000)
        kept = KeptAnswers(kept_bytes, self.metrics) if kept_bytes else None
        self.backend = Backend(
            self.settings,
            self.keys,
            self.repository,
            self.engine,
            self.metrics,
            self.tracing,
            self.otlp_metrics,
            self.recording.record,
            kept,
            (self.settings.max_pixels, self.settings.max_decode_bytes, self.settings.max_json_values),
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
        if scope["type"] == "http" and scope["path"].endswith("/"):
            scope = {**scope, "path": without_slash(scope["path"])}
        await self._rest(scope, receive, send)

    async def start(self) -> None:
        """Start the lanes and load the models."""
        for one in self.rereading:
            one.start()
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

    async def stop(self, seconds: float | None = None) -> list[str]:
        """Refuse new requests, and return when every accepted one has been answered and recorded.

        Args:
            seconds: maximum for the answers; ``LADING_DRAIN_S`` by default. Each part that writes gets :data:`WRITE_S`.

        Returns:
            What still runs, because it did not end in time. A process must not wait for it when it exits.
        """
        running = await self.engine.stop(self.settings.drain_s if seconds is None else seconds)
        for one in self.rereading:
            one.stop()
        await self.health.stop()
        await self.history.stop()
        writing = {"recorder": self.recording.stop}
        if self.tracing is not None:
            writing["tracing"] = self.tracing.close
        if self.otlp_metrics is not None:
            writing["metrics"] = self.otlp_metrics.close
        ended = await asyncio.gather(*(_within(WRITE_S, close) for close in writing.values()))
        running += [name for name, done in zip(writing, ended, strict=True) if not done]
        self.repository.stop()
        return running

    def _starlette(self) -> Starlette:
        described = Described(self.repository, self.settings, self.text_forms, self.recording.reports)
        app = Starlette(
            routes=[
                Route("/", _fixed(PAGE.encode(), "text/html", {"content-security-policy": content_security_policy()})),
                Route("/classify", _not_allowed, methods=["POST"]),
                Route("/predict", _not_allowed, methods=["POST"]),
                *(Route(f"/predict/{form.name}", _not_allowed, methods=["POST"]) for form in self.text_forms),
                Route("/v2/models/{name}/infer", _not_allowed, methods=["POST"]),
                Route("/v2/models/{name}/versions/{version}/infer", _not_allowed, methods=["POST"]),
                *v2_routes(self.engine, self.repository, self.health, self.statistics, self.settings),
                *self.recording.routes(),
                *described.routes(),
                *explorer_routes(),
                Route("/livez", self._livez),
                Route("/readyz", self._readyz),
                Route("/metrics", self._exposition),
                Route("/status", self._status),
            ],
            middleware=[
                Middleware(
                    Observe,
                    keys=self.keys,
                    engine=self.engine,
                    body_timeout_s=self.settings.body_timeout_s,
                    access_log=self.settings.access_log,
                )
            ],
            exception_handlers={LadingError: lading_error, HTTPException: http_error},
        )
        # A redirect would lead a client behind a proxy to an address that only the pod knows. See without_slash().
        app.router.redirect_slashes = False
        return app

    async def _livez(self, _: Request) -> Response:
        if not self.health.alive:
            raise NotReadyError("a lane hangs and cannot be replaced, or a worker is missing")
        return Response(b"alive\n", media_type="text/plain")

    async def _readyz(self, _: Request) -> Response:
        if not self.health.ready:
            raise NotReadyError(f"not ready: {self.health.not_ready_because}")
        return Response(b"ready\n", media_type="text/plain")

    async def _exposition(self, request: Request) -> Response:
        for one in self.rereading:
            one.notice_stall()
        wanted = (",".join(request.headers.getlist(name)) for name in ("accept", "accept-encoding"))
        body, headers = exposition(self.metrics, *wanted)
        return Response(body, headers=headers)

    async def _status(self, _: Request) -> Response:
        page = status_page(self.repository, self.health, self.metrics, self.history.intervals())
        headers = {"x-content-type-options": "nosniff", "cache-control": "no-store", "content-security-policy": POLICY}
        return Response(page, headers=headers, media_type="text/html")


async def _within(seconds: float, close: Callable[[], None]) -> bool:
    """Run a function that blocks, in a thread of its own. Return False if it takes longer."""
    ended = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()

    def work() -> None:
        try:
            close()
        except Exception:
            log.exception("an error while the server stopped")
        with contextlib.suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(ended.cancel)

    # Not in the loop's executor: Python waits for its threads when it exits.
    threading.Thread(target=work, name="closing", daemon=True).start()
    return bool((await asyncio.wait([ended], timeout=seconds))[0])


def _tracing(settings: Settings) -> Tracing | None:
    if not settings.tracing:
        return None
    try:
        from lading.serve.telemetry.tracing import Tracing
    except ImportError:
        raise otel_missing("tracing") from None
    return Tracing(settings)


def _otlp_metrics(settings: Settings) -> OtlpMetrics | None:
    if not settings.otlp_metrics:
        return None
    try:
        from lading.serve.telemetry.otlp_metrics import OtlpMetrics
    except ImportError:
        raise otel_missing("otlp_metrics") from None
    return OtlpMetrics()


async def _not_allowed(_: Request) -> Response:
    """Never reached: POST is answered before; the route says so to every other method."""
    raise AssertionError


def _fixed(content: bytes, media_type: str, headers: dict[str, str] | None = None) -> Endpoint:
    sent = {"x-content-type-options": "nosniff", "cache-control": "no-cache"} | (headers or {})

    async def fixed(_: Request) -> Response:
        return Response(content, headers=sent, media_type=media_type)

    return fixed
