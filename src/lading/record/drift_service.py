"""``lading drift serve``: drift and accuracy of a whole service, from the payload log that all of its pods write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from lading.artifact import Artifact
from lading.errors import DataError, SettingsError
from lading.errors.sentences import shown
from lading.protocol.codec import whole_number
from lading.record.evidently import evidently_html
from lading.record.joined import Joined
from lading.record.log_source import LogSource
from lading.record.log_watch import LogWatch
from lading.record.metrics import MODEL, DriftMetrics

log = structlog.get_logger("lading.drift")
MOST_REPORTED = 100_000
"""Maximum examples of a log that a report is about."""
SERVICE = "service"
"""Label ``scope`` of the accuracy over all pods. A pod's own series has no such label."""


class DriftService:
    """Follows the log of one artifact, and exports what a server exports, for all pods together.

    Args:
        source: the payload log.
        artifact: the served artifact. Answers of others are ignored.
        window: number of examples that scores are computed over.

    Raises:
        ArtifactError: the reference cannot be read.
        DataError: the artifact has no thresholds.
    """

    def __init__(self, source: LogSource, artifact: Artifact, window: int) -> None:
        self.source, self.artifact = source, artifact
        self.registry = CollectorRegistry()
        self.problem = "the log has not been read yet"
        """Why the last look at the log failed; empty if it did not."""
        self._joined = Joined(artifact, window, digest=True)
        self._joined.require_thresholds()
        self._watch = LogWatch(source, self._joined)
        self._metrics = DriftMetrics(self.registry)
        labels = (*MODEL, "output", "scope")
        self._accuracy = Gauge(
            "lading_live_accuracy",
            "Share of right answers of all pods among the newest 1000 with a known truth.",
            labels,
            registry=self.registry,
        )
        self._error = Gauge(
            "lading_live_absolute_error",
            "Mean absolute error of all pods over the newest 1000 answers with a known truth.",
            labels,
            registry=self.registry,
        )

    def look(self) -> None:
        """Read what is new in the log, and evaluate it. A log that cannot be read is logged and asked again."""
        try:
            new = self._watch.refresh()
        except (DataError, SettingsError) as error:
            if str(error) != self.problem:
                log.warning("the payload log cannot be read", error=str(error))
            self.problem = str(error)
            return
        self.problem = ""
        examples = len(self._joined.newest_examples())
        manifest = self._joined.manifest
        self._metrics.drift_requests.labels(manifest.name).set(examples)
        if not new or not examples:
            return
        found = self._joined.check()
        if examples == self._joined.newest:
            self._metrics.evaluated(manifest.name, found.scores)
        model = (manifest.name, manifest.chosen)
        for output, (right, known) in found.accuracy.items():
            self._accuracy.labels(*model, output, SERVICE).set(right / known)
        for output, mean in found.errors.items():
            self._error.labels(*model, output, SERVICE).set(mean)


def report_html(source: LogSource, artifact: Artifact, newest: int) -> str:
    """A report on the newest examples: Evidently's where it is installed, otherwise the one that a server has.

    Raises:
        DataError: the log cannot be read, or holds no answer of this artifact.
    """
    if find_spec("evidently") is not None:
        return evidently_html(source, artifact, newest)
    joined = Joined(artifact, newest, digest=True)
    LogWatch(source, joined, truths=False).refresh()
    return joined.check().report(newest)


def drift_app(service: DriftService, every_s: float) -> Starlette:
    """An app with ``GET /report?n=500``, ``/metrics`` and probes, that looks at the log regularly.

    Args:
        service: what is served.
        every_s: seconds between two looks.
    """
    one_report = asyncio.Lock()  # a report takes hundreds of megabytes

    async def report(request: Request) -> Response:
        asked = request.query_params.get("n", "500")
        newest = whole_number(asked)
        if not newest or newest > MOST_REPORTED:
            return JSONResponse({"error": f"n is {shown(asked)}: send 1 to {MOST_REPORTED}", "status": 400}, 400)
        try:
            async with one_report:
                return HTMLResponse(await run_in_threadpool(report_html, service.source, service.artifact, newest))
        except DataError as error:
            return JSONResponse({"error": str(error), "status": 404}, 404)

    async def alive(_: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def ready(_: Request) -> Response:
        return PlainTextResponse(f"{service.problem or 'ready'}\n", 503 if service.problem else 200)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(service.registry), media_type=CONTENT_TYPE_LATEST)

    async def follow() -> None:
        while True:
            try:
                await run_in_threadpool(service.look)
            except Exception as error:
                service.problem = f"the log cannot be evaluated: {error!r}"
                log.exception("the payload log cannot be evaluated")
            await asyncio.sleep(every_s)

    @asynccontextmanager
    async def running(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(follow())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    routes = {"/report": report, "/metrics": metrics, "/livez": alive, "/readyz": ready}
    return Starlette(routes=[Route(path, endpoint) for path, endpoint in routes.items()], lifespan=running)
