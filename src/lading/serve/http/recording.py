"""What a server keeps of its answers: the payload log, the answers that feedback is about, and drift."""

from __future__ import annotations

import asyncio
import time

import orjson
import structlog
from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lading.errors import RequestError, UnknownModelError
from lading.record.drift_monitor import DriftMonitor, live_report
from lading.record.exchange import Consumer
from lading.record.feedback import Feedback, read_feedback
from lading.record.metrics import RecordingMetrics
from lading.record.recorder import Recorder
from lading.serve.engine.repository import Repository
from lading.settings import Settings

log = structlog.get_logger("lading.recording")
LARGEST_FEEDBACK = 65_536


class Recording:
    """The consumers that the settings ask for, the thread that feeds them, and their endpoints.

    Args:
        settings: which of them are on.
        registry: where their series go.
        repository: the models.

    Raises:
        SettingsError: the payload log cannot be written, or a package that it needs is missing.
    """

    def __init__(self, settings: Settings, registry: CollectorRegistry, repository: Repository) -> None:
        metrics = RecordingMetrics(registry)
        self._settings, self._repository = settings, repository
        self._drift = (
            DriftMonitor(metrics, window=settings.drift_window, per_second=settings.drift_per_second)
            if settings.drift
            else None
        )
        self._feedback = Feedback(metrics, settings.feedback) if settings.feedback else None
        self._payload = None
        if settings.payload_log:
            # Arrow is large, and only the payload log needs it.
            from lading.record.payload_log import PayloadLog
            from lading.record.payload_store import sink

            self._payload = PayloadLog(settings, sink(settings), metrics)
        consumers: list[Consumer] = [one for one in (self._drift, self._feedback, self._payload) if one is not None]
        self._recorder = Recorder(consumers, metrics, settings.payload_buffer_mb * 1e6)
        self.record = self._recorder.offer if consumers else None
        """Shows one answered request to all of them; ``None`` when there are none."""

    def start(self) -> None:
        """Begin, once the models are loaded."""
        if self._drift is not None:
            for model in {
                served.name: self._repository.find(served.name) for served in self._repository.all()
            }.values():
                if not self._drift.watch(model.artifact, model.variant):
                    log.info("drift is not watched: the artifact has no reference with thresholds", model=model.name)
        self._recorder.start()

    def stop(self) -> None:
        """Write what was handed over. Blocks: not for the event loop."""
        self._recorder.close()

    def routes(self) -> list[Route]:
        """``/feedback`` and ``/report``."""
        return [Route("/feedback", self._tell, methods=["POST"]), Route("/report", self._report)]

    async def _tell(self, request: Request) -> Response:
        if self._feedback is None:
            raise UnknownModelError("feedback is off: LADING_FEEDBACK says how many answers to remember for it")
        body = await _bounded_body(request)
        request_id, truth = read_feedback(body)
        if self._payload is not None:
            now = round(time.time() * 1e6)
            rows = [
                {"time": now, "request_id": request_id, "output": name, "truth": orjson.dumps(value).decode()}
                for name, value in truth.items()
            ]
            self._recorder.post(lambda: self._payload.tell(rows))  # type: ignore[union-attr]
        if request_id not in self._feedback:
            # The answer may be on its way to the thread that remembers it.
            await asyncio.to_thread(self._recorder.settle)
        return Response(orjson.dumps(self._feedback.tell(request_id, truth)), media_type="application/json")

    async def _report(self, request: Request) -> Response:
        if self._drift is None:
            raise UnknownModelError("drift is not watched: LADING_DRIFT is false")
        name = self._repository.find(request.query_params.get("model")).name
        if name not in self._drift:
            raise UnknownModelError(f"the artifact of {name!r} has no reference with thresholds to compare with")
        newest = _positive(request.query_params.get("n"))
        page = await asyncio.to_thread(live_report, name, self._drift, newest)
        headers = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}
        return Response(page, headers=headers, media_type="text/html")


def _positive(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise RequestError(f"n is {text!r}: send how many of the newest requests to report on, 1 or more")
    return int(text)


async def _bounded_body(request: Request) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > LARGEST_FEEDBACK:
            raise RequestError(f"feedback has at most {LARGEST_FEEDBACK} bytes")
        chunks.append(chunk)
    return b"".join(chunks)
