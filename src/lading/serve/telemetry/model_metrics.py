"""The series of one variant of one model: its runs, its refused inputs, and what its manifest says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

from prometheus_client import Gauge

from lading.artifact import Artifact
from lading.artifact.manifest import PackedVariant
from lading.errors import RequestError
from lading.serve.telemetry.metrics import COUNTED_CODES, PROTOCOLS, VIOLATIONS, Metrics


class ModelMetrics:
    """The series of one variant, made at once, so that they exist before its first request."""

    def __init__(self, metrics: Metrics, artifact: Artifact, packed: PackedVariant) -> None:
        labels = (artifact.manifest.name, packed.variant.name)
        self.queue_duration = metrics.queue_duration.labels(*labels)
        self.decode_duration = metrics.decode_duration.labels(*labels)
        self.inference_duration = metrics.inference_duration.labels(*labels)
        self.batch_size = metrics.batch_size.labels(*labels)
        self._last_run = 0.0
        for protocol in PROTOCOLS:
            for code in COUNTED_CODES:
                metrics.count_from_zero(*labels, protocol, code)
        self._violations = {kind: metrics.violations.labels(*labels, kind) for kind in VIOLATIONS}
        self._metrics, self._artifact, self._packed = metrics, artifact, packed

    def show(self) -> None:
        """Say that this is served: its digest, and the manifest's figures, which dashboards compare with live ones."""
        for gauge, labels, value in self._described():
            gauge.labels(*labels).set(value)

    def hide(self) -> None:
        """Remove what :meth:`show` said. Several workers keep it, but for ``lading_model_info``, which becomes 0."""
        for gauge, labels, _ in self._described():
            if not self._metrics.shared:
                gauge.remove(*labels)
            elif gauge is self._metrics.info:
                gauge.labels(*labels).set(0)

    def _described(self) -> Iterator[tuple[Gauge, tuple[str, ...], float]]:
        metrics, manifest, packed = self._metrics, self._artifact.manifest, self._packed
        labels = (manifest.name, packed.variant.name)
        yield (
            metrics.info,
            (manifest.name, manifest.version, packed.variant.name, self._artifact.digest, packed.precision),
            1,
        )
        with suppress(ValueError):  # a manifest that was not written by pack may say anything
            created = datetime.fromisoformat(manifest.provenance.created).timestamp()
            yield metrics.model_created, (*labels, manifest.version), created
        if packed.measurement is not None:
            for split, score in packed.measurement.scores.items():
                yield metrics.model_score, (*labels, split), score
            for size, ms in packed.measurement.cost.items():
                yield metrics.measured_inference, (*labels, str(size)), ms / 1e3

    def ran(self, seconds: float, rows: int) -> None:
        """Count one run of the model on some examples."""
        self.inference_duration.observe(seconds)
        self.batch_size.observe(rows)
        first = not self._last_run
        self._last_run = time.time()
        if first:  # not before it: a 0 would be a date in 1970
            labels = (self._artifact.manifest.name, self._packed.variant.name)
            self._metrics.compute(self._metrics.last_inference.labels(*labels), lambda: self._last_run)

    def violation(self, error: BaseException) -> None:
        """Count inputs that were refused; any other error is none."""
        if isinstance(error, RequestError):
            # A content type of another package may have a kind of its own.
            self._violations.get(error.kind, self._violations["content"]).inc()
