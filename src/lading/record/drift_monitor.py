"""Watches the requests of a running server for drift."""

from __future__ import annotations

import threading
import time
from typing import NamedTuple

from lading.artifact import Artifact
from lading.drift.reference import Reference
from lading.drift.report import drift_report
from lading.drift.window import Block, Score, Window, merged, scores_of
from lading.record.exchange import Exchange
from lading.record.metrics import RecordingMetrics
from lading.tensors.ragged import separate

EVERY_S = 60.0
"""Minimum seconds between two evaluations. It bounds their number per week, and so the number of false alarms."""
ALARMS = EVERY_S / (7 * 24 * 3600)
"""Probability of a false alarm in one evaluation, for at most one false alarm per week."""


class _Watched(NamedTuple):
    version: str
    variant: str
    window: Window


class DriftMonitor:
    """A consumer of exchanges, with one window for each model that has a reference.

    Args:
        metrics: exports the scores.
        window: examples in a window.
        per_second: maximum examples per second that are examined, on average.
    """

    def __init__(self, metrics: RecordingMetrics, *, window: int, per_second: float) -> None:
        self._metrics = metrics
        self._size = window
        self._interval = 1 / per_second
        self._next = 0.0
        self._lock = threading.Lock()  # the recorder's thread writes windows, and the report reads them
        self._windows: dict[str, _Watched] = {}
        self._evaluated: dict[str, float] = {}

        self.held = self.waiting = 0  # a window is of constant size

    def watch(self, artifact: Artifact, variant: str) -> bool:
        """Start to watch one variant. Return False if its artifact has no reference with thresholds."""
        reference = Reference.of(artifact)
        if not any(feature.null for feature in reference.features.values()):
            with self._lock:
                self._windows.pop(artifact.manifest.name, None)
            return False
        with self._lock:
            window = Window(reference, self._size)
            self._windows[artifact.manifest.name] = _Watched(artifact.manifest.version, variant, window)
        return True

    def wants(self, exchange: Exchange) -> bool:
        if not self._windows or exchange.inputs is None or exchange.outputs is None:
            return False
        now = time.perf_counter()
        model = exchange.model
        # The outputs in the reference come from one variant.
        if now < self._next or not self.watches(model.name, model.version, model.variant):
            return False
        # After a pause, up to one second's worth of a burst is examined too. Each example of a request costs the same.
        outputs = exchange.outputs
        examples = max((len(outputs[spec.name]) for spec in model.outputs if spec.batched), default=1)
        self._next = max(self._next, now - 1.0) + self._interval * examples
        return True

    def take(self, exchange: Exchange) -> None:
        name = exchange.model.name
        assert exchange.inputs is not None
        assert exchange.outputs is not None
        window = self._windows[name].window
        inputs, outputs = exchange.model.inputs, exchange.model.outputs
        for given, answered in separate(inputs, outputs, exchange.inputs, exchange.outputs):
            asked = window.reference.features_of(inputs, (), given, {})
            for feature in window.reference.outside(asked):
                self._metrics.outside_seen_range.labels(name, feature).inc()
            example = asked | window.reference.features_of((), outputs, {}, answered)
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

    def watches(self, model: str, version: str, variant: str) -> bool:
        """Whether requests that this variant answers are compared: one variant of a model's newest version is."""
        watched = self._windows.get(model)
        return watched is not None and watched.variant == variant and watched.version == version

    def scores(self, model: str, newest: int | None = None) -> tuple[Reference, Block, list[Score], int]:
        """Return a model's reference, its newest requests, their scores, and the size of a full window."""
        window = self._windows[model].window
        with self._lock:
            blocks = window.blocks(newest)
        scores = list(scores_of(window.reference, blocks, ALARMS))
        return window.reference, merged(window.reference, blocks), scores, window.size

    def _evaluate(self, name: str) -> None:
        window = self._windows[name].window
        now = time.time()
        if not window.complete or now - self._evaluated.get(name, 0.0) < EVERY_S:
            return
        self._evaluated[name] = now
        self._metrics.evaluated(name, scores_of(window.reference, window.blocks(), ALARMS))


def live_report(model: str, monitor: DriftMonitor, newest: int | None = None) -> str:
    """Return the HTML report on a model's window, or on about ``newest`` of its requests."""
    reference, block, scores, size = monitor.scores(model, newest)
    return drift_report(model, reference, block, scores, window=size, source="From the running server.")
