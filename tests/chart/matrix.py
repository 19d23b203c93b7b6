"""The combinations of values whose rendering is validated: mode, autoscaler, platform, monitoring, artifact."""

from __future__ import annotations

from collections.abc import Iterator

DIGEST = f"sha256:{'a' * 64}"
MODES = {
    "deployment": [],
    "lean": ["bento.enabled=false", "tls.existingSecret=cert", "auth.existingSecret=keys"],
    "bento-image": ["image.kind=bento"],
    "kserve": ["mode=kserve"],
}
AUTOSCALERS = {kind: [f"autoscaling.kind={kind}"] for kind in ("none", "hpa", "keda")}
PLATFORMS = {
    "plain": ["ingress.enabled=true", "ingress.hosts={cards.example.com}", "ingress.tlsSecret=cert"],
    "gke": [
        "gateway.enabled=true",
        "gateway.parentRefs[0].name=web",
        "gateway.hostnames={cards.example.com}",
        "gateway.grpcHostnames={grpc.example.com}",
        "gke.enabled=true",
        "shutdown.preStopSeconds=25",
    ],
}
MONITORS = {
    "unwatched": [
        "artifact.source=volume",
        "artifact.claimName=models",
        "networkPolicy.from[0].podSelector.matchLabels.a=b",
    ],
    "operator": [
        "monitoring.scrape=podMonitor",
        "monitoring.rules.enabled=true",
        "monitoring.dashboards.enabled=true",
        "artifact.source=fetch",
        "artifact.uri=gs://models/cards",
        f"artifact.digest={DIGEST}",
        "artifact.credentialsSecret=bucket",
    ],
    "managed": ["monitoring.scrape=podMonitoring", "monitoring.rules.enabled=true", "monitoring.rules.kind=Rules"],
}
SECRETS = {
    "": [],
    " with keys": ["auth.existingSecret=keys"],
    " with TLS": ["tls.existingSecret=cert"],
    " with keys, TLS and more volumes": [
        *("auth.existingSecret=keys", "tls.existingSecret=cert", "imagePullSecrets[0].name=registry"),
        *("extraVolumes[0].name=more", "extraVolumes[0].emptyDir.sizeLimit=1Mi", "nodeSelector.disk=ssd"),
        *("extraVolumeMounts[0].name=more", "extraVolumeMounts[0].mountPath=/more"),
    ],
}
RUNTIMES = {
    kind + name: ["mode=kserve", f"kserve.kind={kind}", "settings.deadline_ms=500", *secrets]
    for kind in ("ClusterServingRuntime", "ServingRuntime", "InferenceService")
    for name, secrets in SECRETS.items()
}


def combinations() -> Iterator[tuple[str, list[str]]]:
    """Every combination by its name, as arguments of ``--set``."""
    for mode, of_mode in MODES.items():
        for autoscaler, of_autoscaler in AUTOSCALERS.items():
            for platform, of_platform in PLATFORMS.items():
                for monitor, of_monitor in MONITORS.items():
                    name = f"{mode}, {autoscaler}, {platform}, {monitor}"
                    yield name, [*of_mode, *of_autoscaler, *of_platform, *of_monitor]
    yield from RUNTIMES.items()
    yield (
        "a ServiceMonitor and a load test",
        [
            "monitoring.scrape=serviceMonitor",
            "loadTest.enabled=true",
            "loadTest.image=load:1",
            "loadTest.gate=true",
            "loadTest.report.claimName=reports",
            "loadTest.report.uri=gs://reports/load",
            "loadTest.report.credentialsSecret=bucket",
            "auth.existingSecret=keys",
            "tls.existingSecret=cert",
        ],
    )
    yield (
        "a Gateway that checks the pods' certificate",
        [
            *("gateway.enabled=true", "gateway.parentRefs[0].name=web", "gateway.grpcHostnames={grpc.example.com}"),
            *("tls.existingSecret=cert", "tls.caConfigMap=authority", "monitoring.scrape=annotations"),
        ],
    )
    yield (
        "alerts that reach someone",
        [
            *("monitoring.rules.enabled=true", "monitoring.alerting.enabled=true"),
            "monitoring.alerting.pages.webhookConfigs[0].url=https://pager.example.com/lading",
            "monitoring.alerting.tickets.slackConfigs[0].channel=#cards",
        ],
    )
    yield "a frontend", ["frontend.enabled=true", "frontend.image=lading-frontend:1", *MONITORS["unwatched"]]
