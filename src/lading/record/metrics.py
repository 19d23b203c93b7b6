"""Metrics of the payload log, feedback and drift."""

from __future__ import annotations

import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary

from lading.drift.window import Score

MODEL = ("model", "variant")
DELAYS = (1.0, 10.0, 60.0, 600.0, 3_600.0, 21_600.0, 86_400.0, 604_800.0)
"""Buckets in seconds for the delay of a truth: from a click to a week."""


class DriftMetrics:
    """The distances of the newest requests."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.drift_score = Gauge(
            "lading_drift_score",
            "Distance between the newest requests and the training data.",
            ("model", "feature", "test"),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.drift_threshold = Gauge(
            "lading_drift_threshold",
            "Distance that counts as drift, calibrated for at most one false alarm per week.",
            ("model", "feature", "test"),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.drift_p_value = Gauge(
            "lading_drift_p_value",
            "Probability of this distance or a larger one without drift, for this test alone.",
            ("model", "feature", "test"),
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.drift_requests = Gauge(
            "lading_drift_window_requests",
            "Requests in the window that scores are computed over.",
            ("model",),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.drift_evaluated = Gauge(
            "lading_drift_evaluated_timestamp_seconds",
            "Time of the last evaluation, in seconds since the epoch.",
            ("model",),
            registry=registry,
            multiprocess_mode="livemax",
        )

    def evaluated(self, model: str, scores: Iterable[Score]) -> None:
        """Export the scores of an evaluation that has just been made."""
        for score in scores:
            labels = (model, score.feature, score.test)
            self.drift_score.labels(*labels).set(score.value)
            self.drift_threshold.labels(*labels).set(score.threshold)
            self.drift_p_value.labels(*labels).set(score.p_value)
        self.drift_evaluated.labels(model).set(time.time())


class RecordingMetrics(DriftMetrics):
    """Counters, gauges and histograms in the server's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.outside_seen_range = Counter(
            "lading_inputs_outside_seen_range",
            "Examined examples with an input value outside of the range of the reference data, by feature. They are "
            "answered.",
            ("model", "feature"),
            registry=registry,
        )
        self.payload_written = Counter(
            "lading_payload_written", "Answers in log files that were written and synced.", registry=registry
        )
        self.payload_dropped = Counter(
            "lading_payload_dropped",
            "Answers and truths that were not recorded: the buffer was full, or a write failed.",
            registry=registry,
        )
        self.feedback = Counter(
            "lading_feedback",
            "Answers with a truth, each counted once with its first truth, by result: right, wrong, number (see the "
            "absolute error), logged (this server does not remember the answer, and the payload log has the truth), or "
            "unknown (no one can know the answer).",
            (*MODEL, "output", "result"),
            registry=registry,
        )
        self.feedback_changed = Counter(
            "lading_feedback_changed",
            "Truths that replaced a different truth about the same answer.",
            (*MODEL, "output"),
            registry=registry,
        )
        self.feedback_delay = Histogram(
            "lading_feedback_delay_seconds",
            "Time from an answer to its first truth.",
            MODEL,
            buckets=DELAYS,
            registry=registry,
        )
        self.absolute_error = Summary(
            "lading_feedback_absolute_error",
            "Difference between a predicted number and its first truth, in the output's unit.",
            (*MODEL, "output"),
            registry=registry,
        )
        self.live_accuracy = Gauge(
            "lading_live_accuracy",
            "Share of right answers among the newest 1000 with a known truth; the newest truth about each counts.",
            (*MODEL, "output"),
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.live_error = Gauge(
            "lading_live_absolute_error",
            "Mean absolute error of the newest 1000 answers with a known truth; the newest truth about each counts.",
            (*MODEL, "output"),
            registry=registry,
            multiprocess_mode="livemax",
        )
