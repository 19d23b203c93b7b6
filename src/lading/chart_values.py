"""A values file for the chart, written from a plan with its arithmetic as comments."""

from __future__ import annotations

import re

from lading.artifact import Artifact
from lading.capacity import BASE_MIB, BODIES_MIB, BUSY, BUSY_ONE_AWAY, HEAD_ROOM, PIXELS, Plan


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
    decode = f" + {plan.decode_mib} for a decoded picture" if plan.decode_mib else ""
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
