"""What a pod of an artifact needs and can do, and the chart's values that say so."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from lading.artifact import Artifact
from lading.content import content_of
from lading.cost_table import CostTable
from lading.errors import ArtifactError

BUSY = 0.6
"""Share of the lanes' time that requests should fill. With one lane and a steady service time a request then waits 0.75
service times on average, and at 0.8 already 2: rho / (2 (1 - rho)), Pollaczek and Khinchine for M/D/1."""
BUSY_ONE_AWAY = 0.9
"""The same while one pod is away, for a rollout or a lost node."""
BASE_MIB = {True: 315, False: 145}
"""Resident memory of an idle server, with BentoML in front (two processes) and without; by the cards model."""
OVERHEAD_MS = 0.3
"""CPU milliseconds a request beside the model: HTTP and JSON. Decoding comes on top (``ContentType.decode_ms``)."""
HEAD_ROOM = 1.25
BODIES_MIB = 64
"""``max_queue_mb`` that is written: what waiting requests may hold is part of the memory limit."""
PIXELS = 12_000_000
"""``max_pixels`` that is written where files are decoded; each takes ``ContentType.decode_bytes``."""


@dataclass(frozen=True)
class Plan:
    """What one pod does and how many there have to be."""

    variant: str
    rate: float
    """Requests a second."""
    cpus: int
    bento: bool
    batch: int
    model_ms: float
    """T(b) / b: milliseconds of one lane that an example takes, in batches of ``batch``."""
    overhead_ms: float
    peak_mib: int
    """Growth of memory while one lane runs its largest batch."""
    decode_mib: int
    """One decoded file in each lane."""
    decoded: str
    """What such a file is: ``picture``."""
    machine: str

    @property
    def pod_rate(self) -> float:
        """Requests a second at which every lane of a pod is always busy."""
        return self.cpus * 1000.0 / (self.model_ms + self.overhead_ms)

    @property
    def pods(self) -> int:
        """Enough to be :data:`BUSY`, or :data:`BUSY_ONE_AWAY` with one away; never fewer than two."""
        return max(2, self.pods_busy, self.pods_one_away)

    @property
    def pods_busy(self) -> int:
        return math.ceil(self.rate / (BUSY * self.pod_rate))

    @property
    def pods_one_away(self) -> int:
        return math.ceil(self.rate / (BUSY_ONE_AWAY * self.pod_rate)) + 1

    @property
    def memory_mib(self) -> int:
        """Memory limit of a pod, in whole 32 MiB."""
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
) -> Plan:
    """Reckon with the artifact's own figures, which belong to the machine that verify ran on.

    Args:
        artifact: has been measured.
        rate: requests a second, one example each.
        cpus: CPUs, and so lanes, of a pod.
        variant: the chosen one by default.
        overhead_ms: CPU milliseconds beside the model; :data:`OVERHEAD_MS` and decoding by default.
        bento: BentoML runs in front.

    Raises:
        ArtifactError: the variant was never measured, as those of a wrapped ONNX file that skipped verify.
    """
    packed = artifact.variant(variant)
    measured = packed.measurement
    if measured is None or not measured.cost:
        raise ArtifactError(
            f"variant {packed.variant.name!r} of {artifact.path} was never measured: run `lading verify` first"
        )
    table = CostTable(measured.cost)
    batch = table.best_batch
    contents = [content for spec in artifact.manifest.inputs if (content := content_of(spec)) is not None]
    return Plan(
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


def values_yaml(artifact: Artifact, plan: Plan, *, repository: str | None = None) -> str:
    """The values that follow from the artifact; all others keep the chart's defaults."""
    manifest = artifact.manifest
    name = re.sub(r"[^a-z0-9-]+", "-", manifest.name.lower()).strip("-")
    tag = f"{manifest.version}-{artifact.digest.removeprefix('sha256:')[:12]}"
    return "\n".join(
        [
            f"# Written by `lading values` for {manifest.name} {manifest.version}, variant {plan.variant},",
            f"# measured on {plan.machine}. Another machine differs: measure a pod before you trust the count.",
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


def _bento(plan: Plan) -> list[str]:
    return ["bento:", f"  enabled: {str(plan.bento).lower()}"]


def _pods(plan: Plan) -> list[str]:
    cost = plan.model_ms + plan.overhead_ms
    most = f"{plan.pod_rate:.0f}"
    return [
        f"# A request takes {plan.model_ms:.3g} ms of the model (T({plan.batch}) / {plan.batch}) and"
        f" {plan.overhead_ms:.3g} ms beside it, for HTTP, JSON and pictures.",
        f"# One pod of {plan.cpus} CPU: {plan.cpus} * 1000 / {cost:.3g} = {most} requests a second at most.",
        f"# {plan.rate:g} a second, {BUSY:.0%} busy: {plan.rate:g} / ({BUSY} * {most}) -> {plan.pods_busy}.",
        f"# The same with one pod away, {BUSY_ONE_AWAY:.0%} busy: {plan.rate:g} / ({BUSY_ONE_AWAY} * {most}) + 1"
        f" -> {plan.pods_one_away}. Never fewer than 2.",
        f"replicaCount: {plan.pods}",
    ]


def _memory(plan: Plan) -> list[str]:
    memory = f"{plan.memory_mib}Mi"
    decode = f" + {plan.decode_mib} for a decoded {plan.decoded}" if plan.decode_mib else ""
    return [
        f"# MiB: ({BASE_MIB[plan.bento]} idle + {plan.cpus} * ({plan.peak_mib} for a run{decode}) + {BODIES_MIB}"
        f" of waiting bodies) * {HEAD_ROOM} -> {plan.memory_mib}.",
        "# A lane a CPU. Limits are requests: a pod that is throttled is late, one that is evicted is gone.",
        "resources:",
        f'  requests: {{cpu: "{plan.cpus}", memory: {memory}}}',
        f'  limits: {{cpu: "{plan.cpus}", memory: {memory}}}',
    ]


def _scaling(plan: Plan) -> list[str]:
    return [
        "# For autoscaling.kind=hpa or keda. In flight, by Little's law: a pod's lanes times the share that is busy.",
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
