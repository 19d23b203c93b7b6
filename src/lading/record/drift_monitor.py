"""Watches the requests of a running server for drift."""

from __future__ import annotations

import threading
import time

from lading.artifact import Artifact
from lading.drift.reference import Reference, example_features
from lading.drift.report import drift_report
from lading.drift.window import Block, Score, Window, merged, scores_of
from lading.record.exchange import Exchange
from lading.record.metrics import RecordingMetrics
from lading.tensors.ragged import separate

EVERY_S = 60.0
"""Minimum seconds between two evaluations. It bounds their number per week, and so the number of false alarms."""
ALARMS = EVERY_S / (7 * 24 * 3600)
"""Probability of a false alarm in one evaluation, for at most one false alarm per week."""


class DriftMonitor:
    """A consumer of exchanges, with one window for each model that has a reference.

    Args:
        metrics: exports the scores.
        window: requests in a window.
        per_second: maximum requests per second that are examined.
    """

    def __init__(self, metrics: RecordingMetrics, *, window: int, per_second: float) -> None:
        self._metrics = metrics
        self._size = window
        self._interval = 1 / per_second
        self._next = 0.0
        self._lock = threading.Lock()  # the recorder's thread writes windows, and the report reads them
        self._windows: dict[str, tuple[str, Window]] = {}
        self._evaluated: dict[str, float] = {}

    def watch(self, artifact: Artifact, variant: str) -> bool:
        """Start to watch one variant. Return False if its artifact has no reference with thresholds."""
        reference = Reference.from_json(artifact.reference_json())
        if not any(feature.null for feature in reference.features.values()):
            return False
        with self._lock:
            self._windows[artifact.manifest.name] = (variant, Window(reference, self._size))
        return True

    def wants(self, exchange: Exchange) -> bool:
        if exchange.inputs is None or exchange.outputs is None:
            return False
        now = time.perf_counter()
        known = self._windows.get(exchange.model.name)
        # The outputs in the reference come from one variant.
        if known is None or known[0] != exchange.model.variant or now < self._next:
            return False
        # After a pause, up to one second's worth of a burst is examined too.
        self._next = max(self._next, now - 1.0) + self._interval
        return True

    def take(self, exchange: Exchange) -> None:
        name = exchange.model.name
        assert exchange.inputs is not None
        assert exchange.outputs is not None
        window = self._windows[name][1]
        inputs, outputs = exchange.model.inputs, exchange.model.outputs
        for given, answered in separate(inputs, outputs, exchange.inputs, exchange.outputs):
            example = example_features(inputs, outputs, given, answered)
            with self._lock:
                full = window.add(example)
            if full:
                self._evaluate(name)
        self._metrics.drift_requests.labels(name).set(window.requests)

    def tick(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def __contains__(self, model: str) -> bool:
        return model in self._windows

    def scores(self, model: str, newest: int | None = None) -> tuple[Reference, Block, list[Score], int]:
        """Return a model's reference, its newest requests, their scores, and the size of a full window."""
        window = self._windows[model][1]
        with self._lock:
            blocks = window.blocks(newest)
        scores = list(scores_of(window.reference, blocks, ALARMS))
        return window.reference, merged(window.reference, blocks), scores, window.size

    def _evaluate(self, name: str) -> None:
        window = self._windows[name][1]
        now = time.time()
        if not window.complete or now - self._evaluated.get(name, 0.0) < EVERY_S:
            return
        self._evaluated[name] = now
        for score in scores_of(window.reference, window.blocks(), ALARMS):
            labels = (name, score.feature, score.test)
            self._metrics.drift_score.labels(*labels).set(score.value)
            self._metrics.drift_threshold.labels(*labels).set(score.threshold)
            self._metrics.drift_p_value.labels(*labels).set(score.p_value)
        self._metrics.drift_evaluated.labels(name).set(now)


def live_report(model: str, monitor: DriftMonitor, newest: int | None = None) -> str:
    """Return the HTML report on a model's window, or on about ``newest`` of its requests."""
    reference, block, scores, size = monitor.scores(model, newest)
    return drift_report(model, reference, block, scores, window=size, source="From the running server.")
