"""The BentoML service: :mod:`lading.serve.http.app` on BentoML's port, in addition to its own HTTP and gRPC ports.

``bentoml serve`` at the root of the repository serves ``LADING_ARTIFACT``, else the artifact inside the Bento, else
``artifacts/cards``. It imports neither torch nor the build extra.

BentoML has its own routes for ``/``, ``/docs.json``, ``/metrics``, ``/livez`` and ``/readyz``, and they take precedence
over a mounted app. So the app is a middleware in front of them. BentoML keeps ``/schema.json``, because its clients
read it first. Its Swagger page is not served, because it loads a tracker from the network. The connections are ours
too, so that limits, timeouts and the fast path of inference are the same as on port 8080.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# PORT is BentoML's here, as in `make serve PORT=3001`. Ours would be the same port, and be refused.
os.environ["LADING_HTTP_PORT"] = os.environ.get("LADING_HTTP_PORT") or "8080"
WORKERS = os.environ.get("LADING_WORKERS") or "1"
if WORKERS == "1":
    # BentoML always sets a folder for the metrics of several workers. A single worker keeps them in memory: this is
    # faster, and a full disk does not stop it.
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)

import bentoml
import structlog
from bentoml.exceptions import BentoMLException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import HTTP_PROTOCOLS, Config

from lading.errors import LadingError
from lading.log import configure_logging
from lading.serve.bento_workers import BentoWorkers
from lading.serve.certificates import Certificates
from lading.serve.health import share_of_one
from lading.serve.http.app import App
from lading.serve.http.lean import LeanHttp
from lading.serve.outcome import CLIENT_WENT_AWAY
from lading.serve.ports import Ports
from lading.serve.reread import Reread
from lading.serve.start_check import check_start
from lading.serve.worker import freeze_what_stays, saying_why
from lading.settings import Settings, unknown_variables

log = structlog.get_logger("lading.server")

HERE = Path(__file__).parent
BENTOML_PATHS = ("/schema.json",)


def served_settings() -> Settings:
    """The settings from the environment. Without an artifact setting, look for one in the default places."""
    settings = Settings()
    if not settings.artifact and settings.models is None:
        inside = HERE / "artifact"
        found = inside if inside.is_dir() else HERE / "artifacts" / "cards"
        settings = settings.model_copy(update={"artifact": (found,)})
    return settings


@bentoml.service(
    name="lading",
    # One process has all lanes and one queue; add pods for more capacity. Settings() refuses a value that is no number.
    workers=int(WORKERS) if WORKERS.isdecimal() else 1,
    traffic={"timeout": 60.0},  # LADING_MAX_QUEUE limits waiting requests, and its answer has Retry-After
    metrics={"enabled": False},  # the app has its own /metrics, with bounded labels
    logging={"access": {"enabled": False}},  # LADING_ACCESS_LOG
)
class Lading:
    """Serves artifacts."""

    app: App

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def check() -> None:
        """Check the artifact and the settings before any worker starts, so that an error is one message."""
        try:
            with saying_why():
                settings = served_settings()
                configure_logging(settings.log_level, settings.log_format)
                check_start(settings)
        except LadingError as error:
            raise BentoMLException(str(error)) from None
        if hasattr(os, "waitid"):
            BentoWorkers(settings).start()

    def __init__(self) -> None:
        settings = served_settings()
        configure_logging(settings.log_level, settings.log_format)
        with saying_why():
            self.prepare(settings)

    def prepare(self, settings: Settings) -> None:
        """Make the server, without opening a port of its own."""
        for sentence in unknown_variables():
            log.warning(sentence)
        if settings.tls_certificate and "--ssl-certfile" not in sys.argv:
            log.warning("BentoML's port speaks plain HTTP: bentoml serve --ssl-certfile FILE --ssl-keyfile FILE")
        settings = share_of_one(settings)
        self.app = App(settings)
        self.ports = Ports(self.app, settings)
        self.connection = LeanHttp.of(settings, self.app.endpoint_at)

    def reread_certificate(self, config: Config) -> None:
        """Show the newest certificate on BentoML's port. Called before the first handshake."""
        if config.ssl is None or config.ssl.sni_callback is not None:
            return
        assert config.ssl_certfile is not None
        try:
            certificates = Certificates(
                Path(config.ssl_certfile),
                Path(config.ssl_keyfile or config.ssl_certfile),
                self.app.metrics.certificate_expiry,
                password=config.ssl_keyfile_password,
                clients=None if config.ssl_ca_certs is None else str(config.ssl_ca_certs),
            )
        except LadingError as error:
            # BentoML read the files when it started, and shows what it read. The next connection tries again.
            log.error("the certificate of BentoML's port cannot be read again", reason=str(error))
            return
        certificates.show_on(config.ssl)
        rereading = Reread("bentoml certificate", certificates.read, self.app.metrics.credentials_unreadable)
        self.app.rereading.append(rereading)
        rereading.start()

    # These two are only for /schema.json, which BentoML's clients read. The middleware below answers first, so that a
    # request does not pay for BentoML's own handling.

    @bentoml.api(route="/classify")  # type: ignore[untyped-decorator]
    async def classify(self, image: Path) -> dict[str, Any]:
        """Take one encoded file, such as a JPEG, and return the label of each output."""
        raise AssertionError(image)

    @bentoml.api(route="/predict")  # type: ignore[untyped-decorator]
    async def predict(self, inputs: dict[str, Any], /) -> dict[str, Any]:
        """Take inputs by name, and return outputs by name."""
        raise AssertionError(inputs)

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        with saying_why():
            await self.ports.start()
            await self.app.start()
        freeze_what_stays()
        self.showing = asyncio.create_task(self.ports.show_readiness())  # may wait for the other workers

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        self.app.prepare_to_stop()
        self.showing.cancel()
        await self.ports.stop()
        await self.app.stop()


class LadingFirst:
    """ASGI middleware: passes every request to the app of the running service, except those for BentoML's paths."""

    def __init__(self, app: ASGIApp) -> None:
        self.bentoml_app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in BENTOML_PATHS:
            await self.bentoml_app(scope, receive, send)
            return
        answered = False

        async def send_noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        await bentoml.get_current_service().app(scope, receive, send_noted)
        if not answered:
            # The client went away. BentoML's timeout waits for an answer, a minute for each such request.
            await send({"type": "http.response.start", "status": CLIENT_WENT_AWAY, "headers": []})


def connection(**given: Any) -> asyncio.Protocol:
    """The HTTP protocol of a new connection."""
    service = bentoml.get_current_service()
    service.reread_certificate(given["config"])
    protocol: asyncio.Protocol = service.connection(**given)
    return protocol


# BentoML lets uvicorn choose the protocol, and uvicorn looks it up here when the worker starts.
HTTP_PROTOCOLS["auto"] = connection  # type: ignore[assignment]  # uvicorn uses an object as it is
Lading.add_asgi_middleware(LadingFirst)  # type: ignore[attr-defined]  # the decorator made it a Service
