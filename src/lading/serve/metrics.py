"""What is counted and timed, under the names that dashboards and alerts build on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from lading.artifact import Artifact
from lading.errors import RequestError
from lading.manifest import PackedVariant

CONTENT_TYPE = CONTENT_TYPE_LATEST

# A creation time for every series would double their number, and Prometheus does not use it.
disable_created_metrics()  # type: ignore[no-untyped-call]

# From a tenth of a millisecond to ten seconds. Small models answer in 0.2 to 20 ms, so that is where the steps are at
# most a factor of two apart and a percentile read from them is off by little; above it lies only trouble, where the
# order of magnitude is enough.
SECONDS = (
    0.0001, 0.0002, 0.0004, 0.0006, 0.0008, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.006, 0.008, 0.012, 0.016, 0.025, 0.05,
    0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
)  # fmt: skip
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
UNKNOWN = "unknown"
"""Label of every model that is not served: what clients ask for must not make new series."""
SHED_REASONS = ("queue", "bytes", "deadline", "expired")
PROTOCOLS = ("http", "v2", "grpc")
COUNTED_CODES = (200, 400, 429, 500, 503, 504)
"""Counters of these are there from the start: the first error would otherwise be a new series, and no increase."""
VIOLATIONS = ("name", "dtype", "shape", "value", "format", "picture", "content", "size")
MODEL = ("model", "variant")
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client's variable: where several workers write their values. It decides when the library is imported."""
Together = Literal["livesum", "livemin", "livemax"]
"""How the workers' values of a gauge make one; those of counters and histograms are added up."""


class Metrics:
    """All metrics of one server, in a registry of its own, so that one process can hold several servers.

    Args:
        workers: gives the ids of the processes that share :data:`SHARED_FOLDER`; ``None`` where there is one alone.
    """

    def __init__(self, workers: Callable[[], list[int]] | None = None) -> None:
        self._workers = workers
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "lading_requests",
            "Inference requests answered, by HTTP status (gRPC: the one that means the same).",
            (*MODEL, "protocol", "code"),
            registry=self.registry,
        )
        self._request_duration = self._histogram(
            "lading_request_duration_seconds",
            "From a request's headers to the last byte of its answer.",
            (*MODEL, "protocol"),
        )
        self._request_bytes = Counter(
            "lading_request_bytes", "Bytes of request bodies.", (*MODEL, "protocol"), registry=self.registry
        )
        self._response_bytes = Counter(
            "lading_response_bytes", "Bytes of answers' bodies.", (*MODEL, "protocol"), registry=self.registry
        )
        self.queue_duration = self._histogram(
            "lading_queue_duration_seconds", "From a request's acceptance to the lane that takes it."
        )
        self.decode_duration = self._histogram(
            "lading_decode_duration_seconds", "From a request's bytes to checked arrays: JSON, base64, JPEG, resizing."
        )
        self.inference_duration = self._histogram("lading_inference_duration_seconds", "The model's run alone.")
        self.batch_size = self._histogram("lading_batch_size", "Examples in one run of the model.", buckets=ROWS)
        self._shed = Counter(
            "lading_shed",
            "Requests refused or dropped: the queue or its bytes are full, the deadline cannot be met, or has passed.",
            ("reason",),
            registry=self.registry,
        )
        self._reasons = {reason: self._shed.labels(reason) for reason in SHED_REASONS}
        self.requests_in_flight = self._gauge("lading_requests_in_flight", "Inference requests begun and not answered.")
        self.queue_length = self._gauge("lading_queue_length", "Accepted requests that wait for a lane.")
        self.model_ready = Gauge(
            "lading_ready",
            "1 when the model's golden outputs matched and its requests are taken.",
            MODEL,
            registry=self.registry,
            multiprocess_mode="livemin",
        )
        self.usable_cpus = self._gauge("lading_usable_cpus", "CPUs left by affinity and the cgroup's limit.", "livemax")
        self.lanes = self._gauge("lading_lanes", "Requests that are decoded and run at once.")
        self.queue_limit = self._gauge("lading_queue_limit", "Requests that may wait for a lane.")
        self.start_duration = self._gauge(
            "lading_start_duration_seconds",
            "From the process's start until its models were ready; 0 before that.",
            "livemax",
        )
        self.certificate_expiry = self._optional("lading_tls_certificate_expiry_timestamp_seconds", _CERTIFICATE)
        self.key_expiry = self._optional("lading_api_key_expiry_timestamp_seconds", _KEY, ("key",))
        self.violations = Counter(
            "lading_schema_violations",
            "Requests whose inputs the model does not take, by what is wrong with them.",
            (*MODEL, "kind"),
            registry=self.registry,
        )
        self.model_created = self._optional("lading_model_created_timestamp_seconds", _CREATED, (*MODEL, "version"))
        self.model_score = self._optional("lading_model_score", _SCORE, (*MODEL, "split"))
        self.measured_inference = self._optional("lading_measured_inference_seconds", _MEASURED, (*MODEL, "batch"))
        self.info = Gauge(
            "lading_model_info",
            "1; the labels say what is served.",
            ("model", "version", "variant", "digest", "precision"),
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._children: dict[tuple[str, str, str, int], Counter] = {}
        self._protocols: dict[tuple[str, str, str], tuple[Histogram, Counter, Counter]] = {}

    def model(self, artifact: Artifact, packed: PackedVariant) -> ModelMetrics:
        """The series of one variant, made now, so that they are there before its first request."""
        return ModelMetrics(self, artifact, packed)

    def started(self) -> None:
        """Note that the models are ready; where the process's start is not known, that is not said."""
        for family in ProcessCollector(registry=None).collect():
            if family.name == "process_start_time_seconds":
                self.start_duration.set(time.time() - family.samples[0].value)

    def shed(self, reason: str) -> None:
        """Count a request that was refused or dropped; ``reason`` is one of :data:`SHED_REASONS`."""
        self._reasons[reason].inc()

    def answered(
        self,
        protocol: str,
        code: int,
        seconds: float,
        *,
        model: str = UNKNOWN,
        variant: str = UNKNOWN,
        received: int = 0,
        sent: int = 0,
    ) -> None:
        """Count one inference request.

        Args:
            protocol: ``http`` for the plain endpoints, ``v2`` or ``grpc`` for the Open Inference Protocol.
            code: the HTTP status; 499 when the client went away.
            seconds: how long it took.
            model: the served model's name, never what a client wrote.
            variant: of the served model.
            received: bytes of the request's body.
            sent: bytes of the answer's body.
        """
        self.count_from_zero(model, variant, protocol, code).inc()
        key = (model, variant, protocol)
        known = self._protocols.get(key)
        if known is None:
            known = self._protocols[key] = (
                self._request_duration.labels(*key),
                self._request_bytes.labels(*key),
                self._response_bytes.labels(*key),
            )
        duration, request_bytes, response_bytes = known
        duration.observe(seconds)
        request_bytes.inc(received)
        response_bytes.inc(sent)

    def count_from_zero(self, model: str, variant: str, protocol: str, code: int) -> Counter:
        """The counter of requests with these labels, made if it is not there."""
        counter = self._children.get((model, variant, protocol, code))
        if counter is None:
            counter = self._requests.labels(model, variant, protocol, str(code))
            self._children[model, variant, protocol, code] = counter
        return counter

    def of_the_status_page(self) -> Iterator[Metric]:
        """What the status page draws over time, of all workers together."""
        drawn = (self._requests, self._request_duration, self.batch_size, self._shed, self.queue_length)
        names = {family.name for metric in drawn for family in metric.describe()}
        own = (family for metric in drawn for family in metric.collect())
        yield from (one for one in self.together().collect() if one.name in names) if self.shared else own

    @property
    def shared(self) -> bool:
        """Whether there are other workers, whose values are read from files."""
        return self._workers is not None

    def together(self) -> CollectorRegistry:
        """This process's registry, or one that adds up those of all workers."""
        if self._workers is None:
            return self.registry
        self.refresh()
        together = CollectorRegistry()
        MultiProcessCollector(together, os.environ[SHARED_FOLDER])  # type: ignore[no-untyped-call]
        return together

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format, of all workers together."""
        together = self.together()
        if self._workers is not None:
            PlatformCollector(registry=together)
            together.register(_Processes(self._workers))
        return generate_latest(together)

    def refresh(self) -> None:
        """Write the values that are computed on request to the folder where the other workers read them."""
        if self._workers is not None:
            for family in self.queue_length.collect():
                self.queue_length.set(family.samples[0].value)

    def _gauge(self, name: str, text: str, together: Together = "livesum") -> Gauge:
        return Gauge(name, text, registry=self.registry, multiprocess_mode=together)

    def _optional(self, name: str, text: str, labels: tuple[str, ...] = ("file",)) -> Gauge:
        """A gauge that has no series until there is something to say: a 0 would be a date in 1970."""
        return Gauge(name, text, labels, registry=self.registry, multiprocess_mode="livemax")

    def _histogram(
        self, name: str, text: str, labels: tuple[str, ...] = MODEL, *, buckets: Iterable[float] = SECONDS
    ) -> Histogram:
        return Histogram(name, text, labels, buckets=tuple(buckets), registry=self.registry)


class _Processes(Collector):
    """Memory, time and files of every worker, by its process id: sums of them would go back when one ends."""

    def __init__(self, pids: Callable[[], list[int]]) -> None:
        self._pids = pids

    def collect(self) -> Iterator[Metric]:
        found: dict[str, Metric] = {}
        for pid in self._pids():
            for family in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():  # type: ignore[misc]
                merged = found.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    merged.add_sample(sample.name, {"pid": str(pid)}, sample.value)
        yield from found.values()


_CERTIFICATE = "When the certificate that the ports show expires, as seconds since 1970."
_KEY = "When a key that has an end expires, as seconds since 1970; the label begins the key's SHA-256."
_CREATED = "When the artifact was built, as seconds since 1970."
_SCORE = "The variant's score as verify measured it, by split of the data."
_MEASURED = "T(b): median seconds of a run of b examples on one thread, as verify measured it."


class ModelMetrics:
    """The series of one variant of one model, with their labels bound."""

    def __init__(self, metrics: Metrics, artifact: Artifact, packed: PackedVariant) -> None:
        labels = (artifact.manifest.name, packed.variant.name)
        self.queue_duration = metrics.queue_duration.labels(*labels)
        self.decode_duration = metrics.decode_duration.labels(*labels)
        self.inference_duration = metrics.inference_duration.labels(*labels)
        self.batch_size = metrics.batch_size.labels(*labels)
        self.ready = metrics.model_ready.labels(*labels)
        self.ready.set(0)
        metrics.info.labels(
            artifact.manifest.name, artifact.manifest.version, packed.variant.name, artifact.digest, packed.precision
        ).set(1)
        for protocol in PROTOCOLS:
            for code in COUNTED_CODES:
                metrics.count_from_zero(*labels, protocol, code)
        self._violations = {kind: metrics.violations.labels(*labels, kind) for kind in VIOLATIONS}
        _describe(metrics, artifact, packed)

    def violation(self, error: BaseException) -> None:
        """Count inputs that were refused; any other error is none."""
        if isinstance(error, RequestError):
            self._violations[error.kind].inc()


def _describe(metrics: Metrics, artifact: Artifact, packed: PackedVariant) -> None:
    """The manifest's figures of a variant, which dashboards compare with live ones."""
    labels = (artifact.manifest.name, packed.variant.name)
    with suppress(ValueError):  # a manifest that was not written by pack may say anything
        created = datetime.fromisoformat(artifact.manifest.provenance.created).timestamp()
        metrics.model_created.labels(*labels, artifact.manifest.version).set(created)
    if packed.measurement is not None:
        for split, score in packed.measurement.scores.items():
            metrics.model_score.labels(*labels, split).set(score)
        for size, ms in packed.measurement.cost.items():
            metrics.measured_inference.labels(*labels, str(size)).set(ms / 1e3)
