"""Values that the tests give a release, small enough for several pods on a node of two CPUs."""

from __future__ import annotations

WAKE = 'sum(haproxy_backend_current_sessions{proxy="release"}) or vector(0)'
MOST = 6
SMALL = (
    *("resources.requests.cpu=200m", "resources.limits.cpu=200m", "bento.enabled=false", "settings.deadline_ms=500"),
    *("replicaCount=1", "autoscaling.minReplicas=1", f"autoscaling.maxReplicas={MOST}"),
    # A window of five minutes is right for a day, not for a test.
    *("autoscaling.behavior.scaleDown.stabilizationWindowSeconds=40",),
    *("autoscaling.behavior.scaleDown.policies[0].type=Pods", "autoscaling.behavior.scaleDown.policies[0].value=1"),
    "autoscaling.behavior.scaleDown.policies[0].periodSeconds=5",
)


def values(repository: str, tag: str, digest: str) -> dict[str, object]:
    """Small requests, for one node of two CPUs holds ending pods too; a short sleep, for nothing balances before it."""
    return {
        "image": {"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"},
        "artifact": {"digest": digest},
        "service": {"type": "NodePort"},
        "replicaCount": 2,
        "resources": {"requests": {"cpu": "250m", "memory": "384Mi"}, "limits": {"cpu": "1", "memory": "768Mi"}},
        "shutdown": {"preStopSeconds": 5},
        "rollout": {"minReadySeconds": 1},
        # What is tested is that nothing is lost, not how fast two CPUs are while pods start beside the load.
        # Connections of gRPC have to move within the sleep.
        "settings": {"deadline_ms": 20000, "log_format": "json", "grpc_connection_s": 3},
    }


def keda(url: str) -> tuple[str, ...]:
    """Values for KEDA on a Prometheus that scrapes every 5 s."""
    # 0.6 of a lane that has a fifth of a CPU.
    options = {"serverAddress": url, "window": "20s", "pollingInterval": "5", "inFlightPerPod": "0.12"}
    options |= {"fallback.replicas": "2"}
    return (
        *SMALL,
        "monitoring.interval=5s",
        "autoscaling.kind=keda",
        *(f"autoscaling.keda.{key}={value}" for key, value in options.items()),
    )


def keda_under_kserve(url: str) -> tuple[str, ...]:
    """Pods of a fifth of a CPU, which one stream of requests keeps busy, and KEDA that asks a Prometheus."""
    options = {"serverAddress": url, "window": "20s", "pollingInterval": "5", "inFlightPerPod": "0.12"}
    options |= {"fallback.replicas": "1"}
    down = "autoscaling.behavior.scaleDown"
    return (
        *("resources.requests.cpu=200m", "resources.limits.cpu=200m", "bento.enabled=false", "monitoring.interval=5s"),
        *("autoscaling.kind=keda", "autoscaling.minReplicas=1", "autoscaling.maxReplicas=3"),
        *(f"autoscaling.keda.{key}={value}" for key, value in options.items()),
        *(f"{down}.stabilizationWindowSeconds=20", f"{down}.policies[0].type=Pods", f"{down}.policies[0].value=2"),
        f"{down}.policies[0].periodSeconds=5",
    )


def sleepy(url: str) -> tuple[str, ...]:
    """Values for KEDA that takes the last pod, and asks a Prometheus what HAProxy holds."""
    options = {"serverAddress": url, "pollingInterval": "2", "window": "20s", "fallback.replicas": "1"}
    options |= {"wake.cooldownSeconds": "5", "wake.query": WAKE.replace(",", "\\,")}
    return (
        *("replicaCount=1", "autoscaling.kind=keda", "autoscaling.minReplicas=0", "autoscaling.maxReplicas=2"),
        *("monitoring.interval=5s", "bento.enabled=false"),
        *(f"autoscaling.keda.{key}={value}" for key, value in options.items()),
    )
