"""Chart values computed from an artifact: what a pod needs, what it can do, and how many are needed."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from lading.artifact import Artifact
from lading.artifact.manifest import CostTable
from lading.content import ContentType, content_of
from lading.errors import ArtifactError
from lading.settings import Settings
from lading.spec import TensorSpec

BUSY = 0.6
"""Planned utilisation of the lanes. With one lane and constant service time, a request waits 0.75 service times on
average; at 0.8 it waits 2: rho / (2 (1 - rho)), Pollaczek-Khinchine for M/D/1."""
BUSY_ONE_AWAY = 0.9
"""Planned utilisation while one pod is missing, in a rollout or after the loss of a node."""
BASE_MIB = {True: 240, False: 145}
"""Memory of an idle server, with BentoML in front (two processes) and without. Measured with cards: with BentoML
192 MiB in a pod and 227 MiB on a build machine, where what both processes share counts once; without 136 MiB."""
TEST_CPU, TEST_MIB = 0.05, 128
"""What the pod of ``helm test`` requests (``test.resources`` of the chart)."""
OVERHEAD_MS = 0.3
"""CPU milliseconds per request for HTTP and JSON. Decoding is extra (``ContentType.decode_ms``)."""
HEAD_ROOM = 1.1
"""For the allocator's fragments. All else is counted: tests/deploy/test_memory_plan.py compares it with a server."""
BODIES_MB = 64
"""The ``max_queue_mb`` that we write, because the bodies of waiting requests are part of the memory limit."""
CONNECTIONS = 2000
"""The ``max_connections`` that we write, because each may hold headers that are not complete."""
CONNECTION_BYTES = 33_000
"""Memory of a connection whose headers arrive: 32 kB of them, and its objects. An idle one takes 5 kB."""
STREAMS = 4
"""The ``grpc_max_streams`` that we write, because each may hold a message. Messages that arrive at once may take as
much as waiting bodies once more (see ``lading.serve.grpc.reading``)."""
BODY_COPIES = 2
"""What a lane holds of a body next to the body itself: the strings of its JSON, or the parts of its form or message,
and the files that they encode."""
VALUE_BYTES = 98
"""Memory of one value of a JSON body: 90 as Python objects, 8 as an array (see ``lading.budget.MAX_JSON_VALUES``)."""
DEFAULTS = Settings.model_construct()
"""Limits of what one request may cost, which we write as they are."""


@dataclass(frozen=True)
class PodPlan:
    """What one pod does, and how many are needed."""

    variant: str
    rate: float
    """Requests per second."""
    cpus: int
    bento: bool
    batch: int
    model_ms: float
    """T(b) / b: milliseconds of one lane per example, in batches of ``batch``."""
    overhead_ms: float
    peak_mib: int
    """Extra memory while one lane runs its largest batch."""
    input_mib: int
    """Memory of decoded pictures of any size that one lane holds at once; 0 for other models."""
    decode_mib: int
    """Memory that decoding one file takes at most; 0 for a model of plain numbers."""
    decoded: str
    """The noun for such a file: ``picture``."""
    machine: str

    @property
    def pod_rate(self) -> float:
        """Requests per second at which all lanes of a pod are always busy."""
        return self.cpus * 1000.0 / (self.model_ms + self.overhead_ms)

    @property
    def pods(self) -> int:
        """Enough for a utilisation of :data:`BUSY`, or :data:`BUSY_ONE_AWAY` with one pod missing. At least two."""
        return max(2, self.pods_busy, self.pods_one_away)

    @property
    def pods_busy(self) -> int:
        return math.ceil(self.rate / (BUSY * self.pod_rate))

    @property
    def pods_one_away(self) -> int:
        return math.ceil(self.rate / (BUSY_ONE_AWAY * self.pod_rate)) + 1

    @property
    def cpu_request(self) -> float:
        """CPUs that a pod uses on average while one pod is missing, a multiple of 0.05 and at least 0.25.

        The scheduler keeps them free. The limit is :attr:`cpus`, so a burst may use all lanes.
        """
        used = self.cpus * self.rate / ((self.pods - 1) * self.pod_rate)
        return min(float(self.cpus), max(0.25, math.ceil(used * 20) / 20))

    @property
    def node_cpus(self) -> float:
        """CPUs that the release needs free at once: its pods, one more in a rolling update, and ``helm test``."""
        return (self.pods + 1) * self.cpu_request + TEST_CPU

    @property
    def node_mib(self) -> int:
        """Memory that the release needs free at once."""
        return (self.pods + 1) * self.memory_mib + TEST_MIB

    @property
    def target_percent(self) -> int:
        """CPU use at which an autoscaler adds a pod, in percent of the requested CPU."""
        return round(100 * BUSY * self.cpus / self.cpu_request)

    @property
    def memory_mib(self) -> int:
        """Memory limit of a pod, a multiple of 32 MiB."""
        lane = self.peak_mib + self.input_mib + self.read_mib
        used = BASE_MIB[self.bento] + self.cpus * lane + self.waiting_mib
        return 32 * math.ceil(used * HEAD_ROOM / 32)

    @property
    def read_mib(self) -> int:
        """Memory in which one lane reads a request: a file next to what it was sent in, or the values of a JSON body.

        The two do not add up: a body has the bytes for many values or for a large file.
        """
        body = _mib(BODY_COPIES * DEFAULTS.max_body_bytes)
        return max(body + self.decode_mib, _mib(VALUE_BYTES * DEFAULTS.max_json_values))

    @property
    def waiting_mib(self) -> int:
        """Memory of the bodies and messages that arrive or wait, and of connections."""
        messages_mb = BODIES_MB + STREAMS * DEFAULTS.grpc_max_message_mb
        return _mib(1_000_000 * (BODIES_MB + messages_mb) + CONNECTIONS * CONNECTION_BYTES)


def plan(
    artifact: Artifact,
    *,
    rate: float,
    cpus: int = 1,
    variant: str | None = None,
    overhead_ms: float | None = None,
    bento: bool = True,
) -> PodPlan:
    """Plan with the artifact's measurements, which are valid for the machine that verify ran on.

    Args:
        artifact: with measurements.
        rate: requests per second, with one example each.
        cpus: CPUs of a pod; there is one lane per CPU.
        variant: default: the one that verify chose.
        overhead_ms: CPU milliseconds per request besides the model; default: :data:`OVERHEAD_MS` and decoding.
        bento: whether BentoML runs in front.

    Raises:
        ArtifactError: the variant has no measurements, such as one of a bare ONNX file.
    """
    packed = artifact.variant(variant)
    measured = packed.measurement
    if measured is None or not measured.cost:
        raise ArtifactError(
            f"variant {packed.variant.name!r} of {artifact.path} has no measurements: run `lading verify` first"
        )
    table = CostTable.of(measured)
    batch = table.best_batch
    contents = [content for spec in artifact.manifest.inputs if (content := content_of(spec)) is not None]
    return PodPlan(
        variant=packed.variant.name,
        rate=rate,
        cpus=cpus,
        bento=bento,
        batch=batch,
        model_ms=1000.0 * table.seconds(batch) / batch,
        overhead_ms=OVERHEAD_MS + sum(one.decode_ms for one in contents) if overhead_ms is None else overhead_ms,
        peak_mib=math.ceil(measured.peak_memory_bytes / 2**20),
        input_mib=_mib(_input_bytes(artifact.manifest.inputs, batch)),
        decode_mib=max((_decode_mib(one) for one in contents), default=0),
        decoded=" or ".join(dict.fromkeys(one.noun for one in contents)),
        machine=artifact.manifest.machine.cpu if artifact.manifest.machine else "an unknown machine",
    )


def _input_bytes(inputs: Sequence[TensorSpec], batch: int) -> int:
    """Bytes of the largest pictures of any size: those of the requests that a lane has read, and of a run of them."""
    return sum(
        (batch + 1) * spec.preprocess.most_pixels * spec.preprocess.channels * spec.numpy_dtype.itemsize
        for spec in inputs
        if spec.preprocess is not None and spec.preprocess.kept
    )


def _decode_mib(content: ContentType) -> int:
    """Memory that one file takes at most with the settings that we write."""
    return _mib(max(DEFAULTS.max_decode_bytes, content.decode_bytes * DEFAULTS.max_pixels))


def _mib(count: float) -> int:
    return math.ceil(count / 2**20)


def release_name(model: str) -> str:
    """A model's name as Kubernetes allows it: lower case, digits and hyphens."""
    return re.sub(r"[^a-z0-9-]+", "-", model.lower()).strip("-")


def image_tag(artifact: Artifact) -> str:
    """The tag of the artifact's image: version and digest."""
    return f"{artifact.manifest.version}-{artifact.digest.removeprefix('sha256:')[:12]}"


def values_yaml(artifact: Artifact, plan: PodPlan, *, repository: str | None = None) -> str:
    """The values that depend on the artifact. All others keep the chart's defaults."""
    manifest = artifact.manifest
    name = release_name(manifest.name)
    return "\n".join(
        [
            f"# Written by `lading values` for {manifest.name} {manifest.version}, variant {plan.variant},",
            f"# measured on {plan.machine}. Other machines differ: measure a pod before you rely on the number.",
            f"fullnameOverride: {name}",
            "image:",
            f"  repository: {repository or name}",
            f"  tag: {image_tag(artifact)}",
            "artifact:",
            f"  digest: {artifact.digest}",
            *_bento(plan),
            "",
            *_pods(plan),
            "",
            *_memory(plan),
            "settings:",
            "  log_format: json",
            f"  max_queue_mb: {BODIES_MB}",
            f"  grpc_max_streams: {STREAMS}",
            f"  max_connections: {CONNECTIONS}",
            f"  max_body_mb: {DEFAULTS.max_body_mb:g}",
            f"  max_json_values: {DEFAULTS.max_json_values}",
            *([f"  max_decode_mb: {DEFAULTS.max_decode_mb:g}"] if plan.decode_mib else []),
            "",
            *_scaling(plan),
            "",
        ]
    )


def _bento(plan: PodPlan) -> list[str]:
    return ["bento:", f"  enabled: {str(plan.bento).lower()}"]


def _pods(plan: PodPlan) -> list[str]:
    cost = plan.model_ms + plan.overhead_ms
    most = f"{plan.pod_rate:.0f}"
    return [
        f"# A request takes {plan.model_ms:.3g} ms of the model (T({plan.batch}) / {plan.batch}) and"
        f" {plan.overhead_ms:.3g} ms for HTTP, JSON and decoding.",
        f"# One pod of {plan.cpus} CPU: {plan.cpus} * 1000 / {cost:.3g} = {most} requests per second at most.",
        f"# {plan.rate:g} per second, {BUSY:.0%} busy: {plan.rate:g} / ({BUSY} * {most}) -> {plan.pods_busy}.",
        f"# The same with one pod missing, {BUSY_ONE_AWAY:.0%} busy: {plan.rate:g} / ({BUSY_ONE_AWAY} * {most}) + 1"
        f" -> {plan.pods_one_away}. At least 2.",
        f"replicaCount: {plan.pods}",
    ]


def _memory(plan: PodPlan) -> list[str]:
    memory = f"{plan.memory_mib}Mi"
    read = f"a {plan.decoded} in its body" if plan.decode_mib else "a JSON body"
    held = f" + {plan.input_mib} of pictures" if plan.input_mib else ""
    return [
        f"# MiB: ({BASE_MIB[plan.bento]} idle + {plan.cpus} * ({plan.peak_mib} for a run{held} +"
        f" {plan.read_mib} to read {read}) + {plan.waiting_mib} of bodies,",
        f"# gRPC messages and connections) * {HEAD_ROOM} -> {plan.memory_mib}."
        " With larger settings below, raise it by as much,",
        "# and with idempotency_mb, feedback_mb or payload_log (payload_buffer_mb) by theirs: they are off here.",
        "# One lane per CPU of the limit. The requested CPU is what a pod uses on average while one pod is missing:",
        f"# {plan.cpus} * {plan.rate:g} / ({plan.pods - 1} * {plan.pod_rate:.0f}), at least 0.25."
        " Memory is requested in full, so that no pod is evicted first.",
        f"# The nodes need {plan.node_cpus:g} free CPUs and {plan.node_mib} MiB:"
        f" {plan.pods} pods, one more in a rolling update, and `helm test`.",
        "resources:",
        f'  requests: {{cpu: "{plan.cpu_request:g}", memory: {memory}}}',
        f'  limits: {{cpu: "{plan.cpus}", memory: {memory}}}',
    ]


def _scaling(plan: PodPlan) -> list[str]:
    return [
        "# For autoscaling.kind=hpa or keda. In flight by Little's law: lanes of a pod times their utilisation.",
        "autoscaling:",
        f"  minReplicas: {plan.pods}",
        f"  maxReplicas: {4 * plan.pods}",
        "  hpa:",
        f"    targetCPUUtilization: {plan.target_percent}  # of the requested CPU: {BUSY:.0%} of the limit",
        "  keda:",
        f'    inFlightPerPod: "{plan.cpus * BUSY:g}"',
        f'    queueMilliseconds: "{max(5.0, 2 * (plan.model_ms + plan.overhead_ms)):.0f}"',
        "    fallback:",
        f"      replicas: {2 * plan.pods}",
    ]
