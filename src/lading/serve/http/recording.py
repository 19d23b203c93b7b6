"""What a server keeps of its answers: the payload log, the answers that feedback is about, and drift."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import structlog
from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lading.errors import RequestError, UnknownModelError
from lading.errors.sentences import shown
from lading.protocol.codec import whole_number
from lading.record.drift_monitor import DriftMonitor, live_report
from lading.record.exchange import Consumer, Exchange
from lading.record.feedback import Feedback, read_feedback
from lading.record.metrics import RecordingMetrics
from lading.record.recorder import Recorder
from lading.serve.engine.model import ServedModel
from lading.serve.engine.repository import Repository
from lading.serve.pages.page import REPORT, content_security_policy
from lading.settings import Settings

log = structlog.get_logger("lading.recording")
MOST_REPORTED = 100_000
"""Maximum requests that a report is about: a window is not larger."""
DRIFT_BYTES = 16e6
"""Maximum size of the requests that wait for drift detection, where nothing else is recorded."""
SETTLE_S = 2.0
"""Maximum wait for an answer that the recorder's thread has not taken yet."""
STOP_S = 7.0
"""Maximum time to write what was recorded when the server stops. The chart gives a pod 10 s after its drain."""
JOINED_LATER = (
    "this server does not remember the answer: the truth is in the payload log, where `lading drift serve` and "
    "`lading drift check` join it with the answer"
)
_REPORT_HEADERS = {"content-security-policy": content_security_policy(REPORT), "x-content-type-options": "nosniff"}


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
        self._feedback = Feedback(metrics, settings.feedback, settings.feedback_mb * 1e6) if settings.feedback else None
        self._payload = None
        if settings.payload_log:
            # Arrow is large, and only the payload log needs it.
            from lading.record.payload_log import PayloadLog
            from lading.record.payload_store import sink

            self._payload = PayloadLog(settings, sink(settings), metrics)
        quick: list[Consumer] = [one for one in (self._drift, self._feedback) if one is not None]
        slow: list[Consumer] = [] if self._payload is None else [self._payload]
        most = settings.payload_buffer_mb * 1e6
        # Drift looks at some requests only, and is on by default: its queue is a small part of a pod's memory.
        self._quick = Recorder(quick, metrics, most if self._feedback else min(most, DRIFT_BYTES))
        self._slow = Recorder(slow, metrics, most)
        self.record: Callable[[Exchange], None] | None = None
        """Shows one answered request to all of them; ``None`` when there are none."""
        if quick and slow:
            self.record = self._offer
        elif quick or slow:
            self.record = self._quick.offer if quick else self._slow.offer

    def watch(self, model: ServedModel) -> None:
        """Compare the requests of a model with its reference from now on. Blocks.

        Raises:
            ArtifactError: the reference cannot be read.
        """
        if self._drift is not None and not self._drift.watch(model.artifact, model.variant):
            log.info("drift is not watched: the artifact has no reference with thresholds", model=model.name)

    def reports(self, name: str) -> bool:
        """Whether ``/report`` has a page about a model."""
        return self._drift is not None and name in self._drift

    def start(self) -> None:
        """Begin to record."""
        self._quick.start()
        self._slow.start()

    def stop(self) -> None:
        """Write what was handed over, for at most :data:`STOP_S` seconds. Blocks: not for the event loop."""
        until = time.monotonic() + STOP_S
        for recorder in (self._quick, self._slow):
            recorder.close(max(0.0, until - time.monotonic()))

    def _offer(self, exchange: Exchange) -> None:
        self._quick.offer(exchange)
        self._slow.offer(exchange)

    def routes(self) -> list[Route]:
        """``/feedback`` and ``/report``."""
        return [Route("/feedback", self._tell, methods=["POST"]), Route("/report", self._report)]

    async def _tell(self, request: Request) -> Response:
        if self._feedback is None:
            raise UnknownModelError("feedback is off: LADING_FEEDBACK says how many answers to remember for it")
        body = await request.body()
        request_id, truth = read_feedback(body)
        if request_id not in self._feedback:
            # The answer may be on its way to the thread that remembers it.
            await asyncio.to_thread(self._quick.settle, SETTLE_S)
        if request_id not in self._feedback and self._payload is not None and self._payload.logs(request_id):
            self._feedback.passed_on()
            self._log_truth(request_id, truth, len(body))
            return Response(orjson.dumps({"message": JOINED_LATER}), 202, media_type="application/json")
        compared = self._feedback.tell(request_id, truth)
        self._log_truth(request_id, truth, len(body))
        return Response(orjson.dumps(compared), media_type="application/json")

    def _log_truth(self, request_id: str, truth: Mapping[str, Any], size: int) -> None:
        payload = self._payload
        if payload is None:
            return
        now = round(time.time() * 1e6)
        rows = [
            {"time": now, "request_id": request_id, "output": name, "truth": orjson.dumps(value).decode()}
            for name, value in truth.items()
        ]
        self._slow.post(lambda: payload.tell(rows), size=size + 1024 * len(rows))

    async def _report(self, request: Request) -> Response:
        if self._drift is None:
            raise UnknownModelError("drift is not watched: LADING_DRIFT is false")
        model = self._repository.named(request.query_params)
        name = model.name
        if name not in self._drift:
            raise UnknownModelError(f"the artifact of {name!r} has no reference with thresholds to compare with")
        if not self._drift.watches(name, model.version, model.variant):
            raise UnknownModelError(
                f"drift of {name!r} is watched for what answers by default, and not for version {model.version!r}, "
                f"variant {model.variant!r}: leave both out"
            )
        newest = _positive(request.query_params.get("n"))
        page = await asyncio.to_thread(live_report, name, self._drift, newest)
        return Response(page, headers=_REPORT_HEADERS, media_type="text/html")


def _positive(text: str | None) -> int | None:
    if text is None:
        return None
    number = whole_number(text)
    if not number or number > MOST_REPORTED:
        raise RequestError(
            f"n is {shown(text)}: send how many of the newest requests to report on, 1 to {MOST_REPORTED}"
        )
    return number
