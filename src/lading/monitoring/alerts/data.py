"""The model, and what flows through it: the service answers, and the answers are worth less."""

from __future__ import annotations

from lading.monitoring.rule import EVERYWHERE, Alert

_BY = "namespace, model, feature, test"

ALERTS = (
    Alert(
        name="LadingDrift",
        expr=(
            f"max by ({_BY}) (lading_drift_score{{{EVERYWHERE}}})\n"
            f"  > on ({_BY})\nmax by ({_BY}) (lading_drift_threshold{{{EVERYWHERE}}})"
        ),
        severity="warning",
        wait="15m",
        summary="What {{ $labels.model }} is asked has drifted from its training data: {{ $labels.feature }} scores "
        "{{ $value | humanize }} in {{ $labels.test }}, above the threshold that was calibrated for it.",
    ),
    Alert(
        name="LadingModelStale",
        expr=(
            "max by (namespace, model, version) (\n"
            f"  time() - lading_model_created_timestamp_seconds{{{EVERYWHERE}}}\n) / 86400 > 90"
        ),
        severity="warning",
        wait="1h",
        summary="{{ $labels.model }}, version {{ $labels.version }}, was built {{ $value | humanize }} days ago (more "
        "than 90): train it on newer data, or say that it need not be.",
    ),
    Alert(
        name="LadingPayloadDropped",
        expr=f"sum by (namespace, job) (increase(lading_payload_dropped_total{{{EVERYWHERE}}}[5m])) > 0",
        severity="warning",
        wait="10m",
        summary="{{ $labels.job }} dropped {{ $value | humanize }} payloads within 5 minutes instead of logging them: "
        "its disk or bucket is slower than its traffic, or full.",
    ),
)
