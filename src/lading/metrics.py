"""What is counted and timed, under the names that dashboards and alerts build on."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from lading.artifact import Artifact

CONTENT_TYPE = CONTENT_TYPE_LATEST

# A creation time beside every series would double their number, and Prometheus has no use for it.
disable_created_metrics()  # type: ignore[no-untyped-call]

# From a tenth of a millisecond to ten seconds. Small models answer in 0.2 to 20 ms, so that is where the steps are at
# most a factor of two apart and a percentile read from them is off by little; above it lies only trouble, where the
# order of magnitude is enough.
SECONDS = (
    0.0001, 0.0002, 0.0004, 0.0006, 0.0008, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.006, 0.008, 0.012, 0.016, 0.025, 0.05,
    0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
)  # fmt: skip
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """All metrics of one server, in a registry of its own, so that one process can hold several servers.

    Args:
        artifact: gives the values of the labels ``model`` and ``variant``.
        variant: name of the variant served.
    """

    def __init__(self, artifact: Artifact, variant: str | None = None) -> None:
        self.registry = CollectorRegistry()
        packed = artifact.variant(variant)
        self._labels = (artifact.manifest.name, packed.variant.name)
        self._requests = self._counter(
            "lading_requests", "Inference requests answered, by HTTP status.", ("protocol", "code")
        )
        self._request_duration = self._histogram(
            "lading_request_duration_seconds", "From a request's headers to the last byte of its answer.", ("protocol",)
        )
        self.decode_duration = self._histogram(
            "lading_decode_duration_seconds", "From a request's bytes to checked arrays: JSON, base64, JPEG, resizing."
        ).labels(*self._labels)
        self.inference_duration = self._histogram("lading_inference_duration_seconds", "The model's run alone.").labels(
            *self._labels
        )
        self.batch_size = self._histogram(
            "lading_batch_size", "Examples in one run of the model.", buckets=ROWS
        ).labels(*self._labels)
        self.requests_in_flight = self._gauge("lading_requests_in_flight", "Inference requests begun and not answered.")
        self.ready = self._gauge("lading_ready", "1 when the golden outputs matched and requests are taken.")
        self.usable_cpus = self._gauge("lading_usable_cpus", "CPUs left by affinity and the cgroup's limit.")
        info = Gauge(
            "lading_model_info",
            "1; the labels say what is served.",
            ("model", "version", "variant", "digest", "precision"),
            registry=self.registry,
        )
        info.labels(
            artifact.manifest.name, artifact.manifest.version, packed.variant.name, artifact.digest, packed.precision
        ).set(1)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._children: dict[tuple[str, int], Counter] = {}
        self._durations: dict[str, Histogram] = {}

    def answered(self, protocol: str, code: int, seconds: float) -> None:
        """Count one inference request.

        Args:
            protocol: ``http`` for the plain endpoints.
            code: the HTTP status; 499 when the client went away.
            seconds: how long it took.
        """
        counter = self._children.get((protocol, code))
        if counter is None:
            counter = self._children[protocol, code] = self._requests.labels(*self._labels, protocol, str(code))
        counter.inc()
        duration = self._durations.get(protocol)
        if duration is None:
            duration = self._durations[protocol] = self._request_duration.labels(*self._labels, protocol)
        duration.observe(seconds)

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, text, ("model", "variant", *labels), registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)

    def _histogram(
        self, name: str, text: str, labels: tuple[str, ...] = (), *, buckets: Iterable[float] = SECONDS
    ) -> Histogram:
        return Histogram(name, text, ("model", "variant", *labels), buckets=tuple(buckets), registry=self.registry)
