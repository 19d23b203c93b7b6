"""The sink in a pod: what it is made of, and the variables by which S3 clients find it."""

from __future__ import annotations

from typing import Any

from tests.e2e.cluster.kube import ROOT

SECURE = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
    "runAsNonRoot": True,
    "runAsUser": 10001,
}


def sink_objects(image: str) -> list[dict[str, Any]]:
    """A ConfigMap, a Service and a Pod, all named sink; the image needs Python and no more."""
    labels = {"app": "sink"}
    container = {
        "name": "sink",
        "image": image,
        "command": ["python", "/sink/sink.py"],
        "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}},
        "readinessProbe": {"tcpSocket": {"port": 9000}, "periodSeconds": 1},
        "securityContext": SECURE,
        "volumeMounts": [{"name": "sink", "mountPath": "/sink"}],
    }
    objects: list[dict[str, Any]] = [
        {"kind": "ConfigMap", "data": {"sink.py": (ROOT / "tests/e2e/cluster/sink.py").read_text()}},
        {"kind": "Service", "spec": {"selector": labels, "ports": [{"port": 9000}]}},
        {
            "kind": "Pod",
            "spec": {"containers": [container], "volumes": [{"name": "sink", "configMap": {"name": "sink"}}]},
        },
    ]
    return [{**one, "apiVersion": "v1", "metadata": {"name": "sink", "labels": labels}} for one in objects]


def s3_variables(address: str) -> dict[str, str]:
    """What an S3 client reads."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "here",
    }
