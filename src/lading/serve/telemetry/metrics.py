"""What is counted and timed, under the names that dashboards and alerts build on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from lading.errors import UntrustedError
from lading.serve.telemetry.exemplars import Exemplars
from lading.serve.telemetry.request_series import ROWS, SECONDS, Answers, RequestCounter, RequestHistogram
from lading.serve.telemetry.trace_context import TraceContext
from lading.serve.worker_end import ended_workers

# A creation time for every series would double their number, and Prometheus does not use it.
disable_created_metrics()  # type: ignore[no-untyped-call]

DURATION = "lading_request_duration_seconds"
_OK = 200
UNKNOWN = "unknown"
"""Label of every model that is not served: what clients ask for must not make new series."""
SHED_REASONS = ("queue", "bytes", "deadline", "expired")
PROTOCOLS = ("http", "v2", "grpc")
COUNTED_CODES = (200, 400, 429, 500, 503, 504)
"""Counters of these are there from the start: the first error would otherwise be a new series, and no increase."""
UNTRUSTED = ("unsigned", "altered", "unknown", "expired")
VIOLATIONS = ("name", "dtype", "shape", "value", "format", "picture", "text", "content", "size")
RETRY_RESULTS = ("replayed", "refused")
MODEL = ("model", "variant")
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client's variable: where several workers write their values. It decides when the library is imported."""
Together = Literal["livesum", "livemin", "livemax"]
"""How the workers' values of a gauge make one; those of counters and histograms are added up."""


_CERTIFICATE = "When the certificate that the ports show expires, as seconds since 1970."
_KEY = "When a key that has an end expires, as seconds since 1970; the label begins the key's SHA-256."
_UNREADABLE = "1 while the file of keys, or the certificate, cannot be used as it is."
_UNTRUSTED = "1 while the newest artifact that was opened of a model is refused, because of its signature."
_CREATED = "When the artifact was built, as seconds since 1970."
_SCORE = "The variant's score as verify measured it, by split of the data."
_MEASURED = "T(b): median seconds of a run of b examples on one thread, as verify measured it."


class Metrics:
    """All metrics of one server, in a registry of its own, so that one process can hold several servers.

    Args:
        workers: gives the ids of the processes that share :data:`SHARED_FOLDER`; ``None`` where there is one alone.
    """

    def __init__(self, workers: Callable[[], list[int]] | None = None) -> None:
        self.pids = workers
        folder = Path(os.environ[SHARED_FOLDER]) if workers is not None else None
        self.exemplars = Exemplars(SECONDS, folder)
        self.registry = CollectorRegistry()
        self._requests = RequestCounter(
            "lading_requests",
            "Inference requests answered, by HTTP status (gRPC: the one that means the same).",
            (*MODEL, "protocol", "code"),
            registry=self.registry,
        )
        self._request_duration = self._histogram(
            DURATION,
            "From a request's headers to the last byte of its answer.",
            (*MODEL, "protocol"),
        )
        self._request_bytes = RequestCounter(
            "lading_request_bytes", "Bytes of request bodies.", (*MODEL, "protocol"), registry=self.registry
        )
        self._response_bytes = RequestCounter(
            "lading_response_bytes", "Bytes of answers' bodies.", (*MODEL, "protocol"), registry=self.registry
        )
        self._failed_seconds = RequestCounter(
            "lading_failed_request_seconds",
            "Part of lading_request_duration_seconds that requests without a 200 took.",
            MODEL,
            registry=self.registry,
        )
        self.queue_duration = self._histogram(
            "lading_queue_duration_seconds", "From a request's acceptance to the lane that takes it."
        )
        self.decode_duration = self._histogram(
            "lading_decode_duration_seconds", "From a request's bytes to checked arrays: JSON, base64, JPEG, resizing."
        )
        self.inference_duration = self._histogram("lading_inference_duration_seconds", "The model's run alone.")
        self.batch_size = self._histogram("lading_batch_size", "Examples in one run of the model.", buckets=ROWS)
        self.last_inference = Gauge(
            "lading_last_inference_timestamp_seconds",
            "When the model ran last, as seconds since 1970.",
            MODEL,
            registry=self.registry,
            multiprocess_mode="max",
        )
        self._shed = Counter(
            "lading_shed",
            "Requests refused or dropped: the queue or its bytes are full, the deadline cannot be met, or has passed.",
            ("reason",),
            registry=self.registry,
        )
        self._reasons = {reason: self._shed.labels(reason) for reason in SHED_REASONS}
        self.retries = Counter(
            "lading_idempotent_retries",
            "Retries with the id of an earlier request: replayed got its answer, refused had another body.",
            ("result",),
            registry=self.registry,
        )
        self.kept_bytes = self._gauge("lading_kept_answer_bytes", "Answers that are kept for retries.")
        self._computed: dict[Gauge, Callable[[], float]] = {}
        self.in_flight = 0
        """Written by the event loop alone."""
        in_flight = self._gauge("lading_requests_in_flight", "Inference requests begun and not answered.")
        self.compute(in_flight, lambda: self.in_flight)
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
        self.lanes_replaced = Counter(
            "lading_lanes_replaced",
            "Threads that hung in a decoding or a run, long after its deadline, and were replaced.",
            registry=self.registry,
        )
        self.queue_limit = self._gauge("lading_queue_limit", "Requests that may wait for a lane.")
        self.start_duration = self._gauge(
            "lading_start_duration_seconds",
            "From the process's start until its models were ready; 0 before that.",
            "livemax",
        )
        self.certificate_expiry = self._optional("lading_tls_certificate_expiry_timestamp_seconds", _CERTIFICATE)
        self.key_expiry = self._optional("lading_api_key_expiry_timestamp_seconds", _KEY, ("key",))
        self.credentials_unreadable = self._optional("lading_credentials_unreadable", _UNREADABLE, ("kind",))
        self.violations = Counter(
            "lading_schema_violations",
            "Requests whose inputs the model does not take, by what is wrong with them.",
            (*MODEL, "kind"),
            registry=self.registry,
        )
        self.untrusted = self._optional("lading_artifact_untrusted", _UNTRUSTED, ("model", "reason"))
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
        self.registry.register(_EndedWorkers(folder))
        self._shown: set[tuple[str, str]] = set()
        self._refused: set[str] = set()
        self._counted: dict[tuple[str, str, str, int], Answers] = {}

    def show_ready(self, ready: Mapping[tuple[str, str], bool]) -> None:
        """Set ``lading_ready`` of every model and variant that is served. Those that are not any more lose it."""
        for labels in self._shown - ready.keys():
            self.model_ready.labels(*labels).set(0)
            if not self.shared:
                self.model_ready.remove(*labels)
        for labels, value in ready.items():
            self.model_ready.labels(*labels).set(value)
        self._shown = set(ready)

    def show_trust(self, model: str, refused: UntrustedError | None) -> None:
        """Say whether a model's newest artifact was refused, and why; nothing is said before the first was."""
        if refused is None and model not in self._refused:
            return
        self._refused.add(model)
        for reason in UNTRUSTED:
            self.untrusted.labels(model, reason).set(refused is not None and refused.reason == reason)

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
        trace: TraceContext | None = None,
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
            trace: its span.
        """
        known = self._counted.get((model, variant, protocol, code))
        if known is None:
            key = (model, variant, protocol)
            known = self._counted[(*key, code)] = Answers(
                self._requests.labels(*key, str(code)),
                self._request_duration.labels(*key),
                self._request_bytes.labels(*key),
                self._response_bytes.labels(*key),
            )
        known.add(seconds, received, sent)
        if code != _OK:
            self._failed_seconds.labels(model, variant).inc(seconds)
        if trace is not None and trace.sampled:
            self.exemplars.note(DURATION, {"model": model, "variant": variant, "protocol": protocol}, seconds, trace)

    def stages_traced(self, model: str, variant: str, stages: Mapping[str, float], trace: TraceContext) -> None:
        """Keep the seconds of a sampled request's stages (``queue``, ``decode``, ``inference``) as exemplars."""
        for stage, seconds in stages.items():
            name = f"lading_{stage}_duration_seconds"
            self.exemplars.note(name, {"model": model, "variant": variant}, seconds, trace)

    def count_from_zero(self, model: str, variant: str, protocol: str, code: int) -> None:
        """Show the counter of requests with these labels from now on."""
        self._requests.labels(model, variant, protocol, str(code))

    def of_the_status_page(self) -> Iterator[Metric]:
        """What the status page draws over time, of all workers together."""
        return self._some(self._requests, self._request_duration, self.batch_size, self._shed, self.queue_length)

    def of_the_statistics(self) -> Iterator[Metric]:
        """What the statistics of a model are made from, of all workers together."""
        stages = (self.queue_duration, self.decode_duration, self.inference_duration)
        of_requests = (self._requests, self._request_duration, self._failed_seconds)
        return self._some(*of_requests, *stages, self.batch_size, self.last_inference)

    def _some(self, *metrics: MetricWrapperBase) -> Iterator[Metric]:
        names = {family.name for metric in metrics for family in metric.describe()}
        own = (family for metric in metrics for family in metric.collect())
        yield from (one for one in self.together().collect() if one.name in names) if self.shared else own

    @property
    def shared(self) -> bool:
        """Whether there are other workers, whose values are read from files."""
        return self.pids is not None

    def together(self) -> CollectorRegistry:
        """This process's registry, or one that adds up those of all workers."""
        if self.pids is None:
            return self.registry
        self.refresh()
        together = CollectorRegistry()
        MultiProcessCollector(together, os.environ[SHARED_FOLDER])  # type: ignore[no-untyped-call]
        together.register(_EndedWorkers(Path(os.environ[SHARED_FOLDER])))
        return together

    def refresh(self) -> None:
        """Write the values that are computed on request to the folder where the other workers read them."""
        if self.shared:
            self.exemplars.share()
            for gauge, value in self._computed.items():
                gauge.set(value())

    def compute(self, gauge: Gauge, value: Callable[[], float]) -> None:
        """Ask for a gauge's value when it is shown, instead of setting it at each change."""
        if self.shared:
            self._computed[gauge] = value
        else:
            gauge.set_function(value)

    def _gauge(self, name: str, text: str, together: Together = "livesum") -> Gauge:
        return Gauge(name, text, registry=self.registry, multiprocess_mode=together)

    def _optional(self, name: str, text: str, labels: tuple[str, ...] = ("file",)) -> Gauge:
        """A gauge that has no series until there is something to say: a 0 would be a date in 1970."""
        return Gauge(name, text, labels, registry=self.registry, multiprocess_mode="livemax")

    def _histogram(
        self, name: str, text: str, labels: tuple[str, ...] = MODEL, *, buckets: Iterable[float] = SECONDS
    ) -> RequestHistogram:
        return RequestHistogram(name, text, labels, buckets=tuple(buckets), registry=self.registry)


class _EndedWorkers(Collector):
    """Counted by the process that starts the workers, because one that was killed counts nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        count = 0 if self._folder is None else ended_workers(self._folder)
        yield CounterMetricFamily(
            "lading_workers_ended",
            "Worker processes that were killed, or ended with an error, and were started again.",
            value=count,
        )

    def describe(self) -> Iterable[Metric]:
        return self.collect()
