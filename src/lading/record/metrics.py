"""Metrics of the payload log, feedback and drift."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary

MODEL = ("model", "variant")
DELAYS = (1.0, 10.0, 60.0, 600.0, 3_600.0, 21_600.0, 86_400.0, 604_800.0)
"""Buckets in seconds for the delay of a truth: from a click to a week."""


class RecordingMetrics:
    """Counters, gauges and histograms in the server's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.payload_written = Counter(
            "lading_payload_written", "Answers in log files that were written and synced.", registry=registry
        )
        self.payload_dropped = Counter(
            "lading_payload_dropped",
            "Answers that the payload log or drift detection dropped: the buffer was full, or a write failed.",
            registry=registry,
        )
        self.feedback = Counter(
            "lading_feedback",
            "Truths received, by result: right, wrong, number (see the absolute error), "
            "or unknown (this server does not remember the answer).",
            (*MODEL, "output", "result"),
            registry=registry,
        )
        self.feedback_delay = Histogram(
            "lading_feedback_delay_seconds",
            "Time from an answer to its truth.",
            MODEL,
            buckets=DELAYS,
            registry=registry,
        )
        self.absolute_error = Summary(
            "lading_feedback_absolute_error",
            "Difference between a predicted number and its truth, in the output's unit.",
            (*MODEL, "output"),
            registry=registry,
        )
        self.live_accuracy = Gauge(
            "lading_live_accuracy",
            "Share of right answers among the newest 1000 with a known truth.",
            (*MODEL, "output"),
            registry=registry,
            multiprocess_mode="livemin",
        )
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
