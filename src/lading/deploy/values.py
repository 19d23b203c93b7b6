"""Chart values computed from an artifact: what a pod needs, what it can do, and how many are needed."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from lading.artifact import Artifact
from lading.content import content_of
from lading.errors import ArtifactError
from lading.manifest import CostTable

BUSY = 0.6
"""Planned utilisation of the lanes. With one lane and constant service time, a request waits 0.75 service times on
average; at 0.8 it waits 2: rho / (2 (1 - rho)), Pollaczek-Khinchine for M/D/1."""
BUSY_ONE_AWAY = 0.9
"""Planned utilisation while one pod is missing, in a rollout or after the loss of a node."""
BASE_MIB = {True: 315, False: 145}
"""Resident memory of an idle server, with BentoML in front (two processes) and without; measured with cards."""
OVERHEAD_MS = 0.3
"""CPU milliseconds per request for HTTP and JSON. Decoding is extra (``ContentType.decode_ms``)."""
HEAD_ROOM = 1.25
BODIES_MIB = 64
"""The ``max_queue_mb`` that we write, because the bodies of waiting requests are part of the memory limit."""
PIXELS = 12_000_000
"""The ``max_pixels`` that we write for encoded files. A pixel takes ``ContentType.decode_bytes``."""


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
    decode_mib: int
    """Memory of one decoded file."""
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
    def memory_mib(self) -> int:
        """Memory limit of a pod, a multiple of 32 MiB."""
        used = BASE_MIB[self.bento] + self.cpus * (self.peak_mib + self.decode_mib) + BODIES_MIB
        return 32 * math.ceil(used * HEAD_ROOM / 32)


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
    table = CostTable(measured.cost)
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
        decode_mib=math.ceil(max((one.decode_bytes for one in contents), default=0) * PIXELS / 2**20),
        decoded=" or ".join(dict.fromkeys(one.noun for one in contents)),
        machine=artifact.manifest.machine.cpu if artifact.manifest.machine else "an unknown machine",
    )


def values_yaml(artifact: Artifact, plan: PodPlan, *, repository: str | None = None) -> str:
    """The values that depend on the artifact. All others keep the chart's defaults."""
    manifest = artifact.manifest
    name = re.sub(r"[^a-z0-9-]+", "-", manifest.name.lower()).strip("-")
    tag = f"{manifest.version}-{artifact.digest.removeprefix('sha256:')[:12]}"
    return "\n".join(
        [
            f"# Written by `lading values` for {manifest.name} {manifest.version}, variant {plan.variant},",
            f"# measured on {plan.machine}. Other machines differ: measure a pod before you rely on the number.",
            f"fullnameOverride: {name}",
            "image:",
            f"  repository: {repository or name}",
            f"  tag: {tag}",
            "artifact:",
            f"  digest: {artifact.digest}",
            *_bento(plan),
            "",
            *_pods(plan),
            "",
            *_memory(plan),
            "settings:",
            "  log_format: json",
            f"  max_queue_mb: {BODIES_MIB}",
            *([f"  max_pixels: {PIXELS}"] if plan.decode_mib else []),
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
    decode = f" + {plan.decode_mib} for a decoded {plan.decoded}" if plan.decode_mib else ""
    return [
        f"# MiB: ({BASE_MIB[plan.bento]} idle + {plan.cpus} * ({plan.peak_mib} for a run{decode}) + {BODIES_MIB}"
        f" of waiting bodies) * {HEAD_ROOM} -> {plan.memory_mib}.",
        "# One lane per CPU. Limits equal requests, so that the pod is neither throttled nor evicted first.",
        "resources:",
        f'  requests: {{cpu: "{plan.cpus}", memory: {memory}}}',
        f'  limits: {{cpu: "{plan.cpus}", memory: {memory}}}',
    ]


def _scaling(plan: PodPlan) -> list[str]:
    return [
        "# For autoscaling.kind=hpa or keda. In flight by Little's law: lanes of a pod times their utilisation.",
        "autoscaling:",
        f"  minReplicas: {plan.pods}",
        f"  maxReplicas: {4 * plan.pods}",
        "  hpa:",
        f"    targetCPUUtilization: {BUSY * 100:.0f}",
        "  keda:",
        f'    inFlightPerPod: "{plan.cpus * BUSY:g}"',
        f'    queueMilliseconds: "{max(5.0, 2 * (plan.model_ms + plan.overhead_ms)):.0f}"',
        "    fallback:",
        f"      replicas: {2 * plan.pods}",
    ]
