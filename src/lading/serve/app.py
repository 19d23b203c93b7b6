"""The lean ASGI app: every endpoint of one artifact. Runs by itself, and inside the BentoML service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from http import HTTPStatus

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lading.artifact import Artifact
from lading.errors import ContentTypeError, LadingError, NotReadyError, SettingsError
from lading.metrics import CONTENT_TYPE, Metrics
from lading.serve.body import content_type, read_body, read_picture
from lading.serve.classify import Classifier, classifier
from lading.serve.describe import describe_model
from lading.serve.engine import Engine
from lading.serve.errors import http_error, lading_error
from lading.serve.observe import Observe
from lading.serve.openapi import openapi
from lading.serve.page import PAGE, content_security_policy
from lading.serve.predict import decode_json, encode_json
from lading.settings import Settings

INFERENCE_PATHS = ("/classify", "/predict")
_JSON = "application/json"

Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(settings: Settings | None = None, *, artifact: Artifact | None = None) -> Starlette:
    """Build the app that serves one artifact.

    The model is loaded and checked after start-up, while ``/livez`` answers already and ``/readyz`` says what is
    missing.

    Args:
        settings: read from the environment by default.
        artifact: what to serve; read from ``settings.artifact`` by default.

    Raises:
        SettingsError: no artifact is named.
        ArtifactError: the artifact is torn or edited, or has no such variant.
    """
    settings = settings or Settings()
    artifact = artifact or _load(settings)
    metrics = Metrics(artifact, settings.variant)
    engine = Engine(artifact, settings, metrics)
    how = classifier(artifact, settings.variant)
    document = openapi(artifact, engine.packed, how, settings)
    description = describe_model(artifact, engine.packed, how)
    app = Starlette(
        routes=[
            Route("/", _fixed(PAGE.encode(), "text/html", {"content-security-policy": content_security_policy()})),
            Route("/classify", _classify(engine, how, settings), methods=["POST"]),
            Route("/predict", _predict(engine, settings), methods=["POST"]),
            Route("/model", _fixed(orjson.dumps(description), _JSON)),
            Route("/docs.json", _fixed(orjson.dumps(document), _JSON)),
            Route("/livez", _fixed(b"alive\n", "text/plain")),
            Route("/readyz", _readyz(engine)),
            Route("/metrics", _metrics(metrics)),
        ],
        middleware=[
            Middleware(Observe, metrics=metrics, inference_paths=INFERENCE_PATHS, access_log=settings.access_log)
        ],
        exception_handlers={LadingError: lading_error, HTTPException: http_error},
        lifespan=_lifespan(engine),
    )
    # A redirect would lead a client behind a proxy to an address that only the pod knows.
    app.router.redirect_slashes = False
    app.state.engine = engine
    app.state.metrics = metrics
    return app


def _lifespan(engine: Engine) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        loading = asyncio.create_task(engine.start())
        yield
        await loading
        await engine.stop()

    return lifespan


def _classify(engine: Engine, how: Classifier | str, settings: Settings) -> Endpoint:
    limit, max_pixels = settings.max_body_bytes, settings.max_pixels

    async def classify(request: Request) -> Response:
        if isinstance(how, str):
            raise HTTPException(HTTPStatus.NOT_FOUND, f"{how}: send its inputs to /predict as JSON")
        engine.admit()
        picture = await read_picture(request, limit)
        outputs = await engine.infer(partial(how.decode, picture, max_pixels))
        return Response(orjson.dumps(how.answer(outputs)), media_type=_JSON)

    return classify


def _predict(engine: Engine, settings: Settings) -> Endpoint:
    artifact, model, variant = engine.artifact, engine.artifact.manifest.name, engine.packed.variant.name

    async def predict(request: Request) -> Response:
        # A missing type, and the one that curl -d sends by default, are taken for JSON: its parser decides.
        if content_type(request) not in (_JSON, "", "application/x-www-form-urlencoded"):
            raise ContentTypeError(f"/predict reads application/json, not {content_type(request)}")
        engine.admit()
        body = await read_body(request, settings.max_body_bytes)
        outputs = await engine.infer(partial(decode_json, artifact, settings, body))
        return Response(encode_json(model, variant, outputs), media_type=_JSON)

    return predict


def _readyz(engine: Engine) -> Endpoint:
    async def readyz(_: Request) -> Response:
        if not engine.ready:
            raise NotReadyError(f"not ready: {engine.not_ready_because}")
        return Response(b"ready\n", media_type="text/plain")

    return readyz


def _metrics(metrics: Metrics) -> Endpoint:
    async def exposition(_: Request) -> Response:
        return Response(metrics.exposition(), media_type=CONTENT_TYPE)

    return exposition


def _fixed(content: bytes, media_type: str, headers: dict[str, str] | None = None) -> Endpoint:
    sent = {"x-content-type-options": "nosniff", "cache-control": "no-cache"} | (headers or {})

    async def fixed(_: Request) -> Response:
        return Response(content, headers=sent, media_type=media_type)

    return fixed


def _load(settings: Settings) -> Artifact:
    if settings.artifact is None:
        raise SettingsError("no artifact is named: set LADING_ARTIFACT, or write `lading serve artifacts/cards`")
    return Artifact.load(settings.artifact)
