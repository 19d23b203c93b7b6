"""Durations of requests under OpenTelemetry's own names, sent to an OTLP collector.

``http.server.request.duration`` and ``rpc.server.call.duration``, in seconds, in addition to the metrics that
Prometheus scrapes. OpenTelemetry's variables say where to send them and how often (``OTEL_EXPORTER_OTLP_ENDPOINT``,
``OTEL_METRIC_EXPORT_INTERVAL``). This module is imported only where ``LADING_OTLP_METRICS`` is set.
"""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

import lading
from lading.serve.telemetry.conventions import SECONDS, Attributes, is_rpc, measured
from lading.serve.telemetry.trace_context import TraceContext
from lading.serve.telemetry.tracing import FLUSH_S, export_last, in_trace, log_exports, resource


class OtlpMetrics:
    """Two histograms, sent in intervals from a thread of their own."""

    def __init__(self) -> None:
        log_exports()
        self._exporter = OTLPMetricExporter()
        reader = PeriodicExportingMetricReader(self._exporter)
        self._provider = MeterProvider([reader], resource(), shutdown_on_exit=False)
        meter = self._provider.get_meter("lading", lading.__version__)
        self._http, self._rpc = (
            meter.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=SECONDS)
            for name, description in (
                ("http.server.request.duration", "Duration of HTTP server requests."),
                ("rpc.server.call.duration", "Measures the duration of an incoming Remote Procedure Call (RPC)."),
            )
        )

    def answered(self, request: Attributes, name: str, status: int, seconds: float, trace: TraceContext | None) -> None:
        """Count one inference.

        Args:
            request: its attributes, of :mod:`lading.serve.telemetry.conventions`.
            name: of its span.
            status: of HTTP, also for gRPC; 499 when the client went away.
            seconds: how long it took.
            trace: its span; one that is sampled may become an exemplar.
        """
        histogram = self._rpc if is_rpc(request) else self._http
        context = in_trace(trace) if trace is not None and trace.sampled else Context()
        histogram.record(seconds, measured(request, name, status), context)

    def close(self) -> None:
        """Send what is left, for at most three seconds."""
        export_last(lambda: self._provider.shutdown(FLUSH_S * 1e3), self._exporter.shutdown, "metrics")
