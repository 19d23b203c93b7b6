"""A Cloud Run service computed from an artifact, for `gcloud run services replace`.

Cloud Run sends a service's requests to one port, and ``PORT`` tells the container which one. To this port it speaks
either HTTP/1, or HTTP/2 without TLS. So gRPC is a second service with the same image.
"""

from __future__ import annotations

from typing import Any

import yaml

from lading.artifact import Artifact
from lading.deploy.values import BODIES_MB, CONNECTIONS, STREAMS, PodPlan, release_name
from lading.errors import SettingsError

LEAST_MIB = {1: 512, 2: 512, 4: 2048, 6: 4096, 8: 4096}
"""Minimum memory by number of CPUs. Cloud Run gives no other numbers of whole CPUs."""
QUEUED_S = 0.2
"""An instance gets as many requests at once as it answers in this time; Cloud Run starts another for more."""
STOP_S = 10
"""Seconds from SIGTERM to SIGKILL."""


def cloud_run_yaml(artifact: Artifact, plan: PodPlan, *, image: str, grpc: bool = False) -> str:
    """The file of the service.

    Args:
        artifact: inside the image.
        plan: CPUs, memory and number of instances.
        image: with tag or digest.
        grpc: a service for gRPC clients; otherwise for HTTP.

    Raises:
        SettingsError: Cloud Run gives no such number of CPUs.
    """
    if plan.cpus not in LEAST_MIB:
        raise SettingsError(f"--cpus {plan.cpus}: Cloud Run gives {', '.join(map(str, LEAST_MIB))} CPUs")
    name = release_name(artifact.manifest.name) + ("-grpc" if grpc else "")
    memory = max(plan.memory_mib, LEAST_MIB[plan.cpus])
    at_once = round(QUEUED_S * plan.pod_rate)
    settings = {
        "LADING_DIGEST": artifact.digest,
        "LADING_LOG_FORMAT": "json",
        "LADING_DRAIN_S": STOP_S - 2,
        "LADING_MAX_QUEUE_MB": BODIES_MB,
        "LADING_GRPC_MAX_STREAMS": STREAMS,
        "LADING_MAX_CONNECTIONS": CONNECTIONS,
    }
    # gRPC's own port is the one that gets the requests. PORT, which Cloud Run sets, is for HTTP.
    settings |= {"LADING_HTTP_PORT": 8080, "LADING_GRPC_PORT": 9000} if grpc else {"LADING_GRPC_PORT": "off"}
    container: dict[str, Any] = {
        "image": image,
        "ports": [{"name": "h2c", "containerPort": 9000} if grpc else {"name": "http1", "containerPort": 8080}],
        "env": [{"name": key, "value": str(value)} for key, value in settings.items()],
        "resources": {"limits": {"cpu": str(plan.cpus), "memory": f"{memory}Mi"}},
        "startupProbe": {**_probe(grpc, "/readyz"), "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 60},
        "livenessProbe": {**_probe(grpc, "/livez"), "periodSeconds": 30, "timeoutSeconds": 10, "failureThreshold": 6},
    }
    if grpc or not plan.bento:
        container["command"] = ["python", "-m", "lading", "serve"]
    service = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": name, "annotations": {"run.googleapis.com/ingress": "all"}},
        "spec": {
            "template": {
                "metadata": {
                    "annotations": {
                        "autoscaling.knative.dev/minScale": "1",
                        "autoscaling.knative.dev/maxScale": str(4 * plan.pods),
                        "run.googleapis.com/execution-environment": "gen2",
                        "run.googleapis.com/startup-cpu-boost": "true",
                    }
                },
                "spec": {
                    "containerConcurrency": max(1, min(1000, at_once)),
                    "timeoutSeconds": 60,
                    "containers": [container],
                },
            }
        },
    }
    return _head(artifact, plan, name) + yaml.safe_dump(service, sort_keys=False, width=150)


def _probe(grpc: bool, path: str) -> dict[str, Any]:
    """gRPC's health service, or a path. Cloud Run probes the service's port."""
    return {"grpc": {}} if grpc else {"httpGet": {"path": path}}


def _head(artifact: Artifact, plan: PodPlan, name: str) -> str:
    manifest = artifact.manifest
    return "\n".join(
        [
            f"# Written by `lading values --cloud-run` for {manifest.name} {manifest.version}, variant {plan.variant}.",
            f"#   gcloud run services replace {name}.yaml --region REGION",
            f"# {plan.cpus} CPU: {plan.pod_rate:.0f} requests per second at most, measured on {plan.machine};"
            f" containerConcurrency is {QUEUED_S:g} s of them.",
            "# minScale 0 costs nothing without requests; the first request then waits for a start.",
            "# A payload log or drift needs CPU between requests: run.googleapis.com/cpu-throttling: 'false'.",
            "",
        ]
    )
