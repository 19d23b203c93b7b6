"""Values without sense or effect are refused with a sentence, before the API server refuses them or no one does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.cluster.values import SMALL, keda, keda_under_kserve, sleepy, values
from tests.given.chart import CHART, helm

LONG = "a" * 64
DIGEST = f"sha256:{LONG}"
FETCH = f"artifact.source=fetch,artifact.uri=gs://a/a,artifact.digest={DIGEST}"
REFUSED = {
    # The form of a value.
    "resources.limits.memory=lots": "resources.limits.memory=lots is not valid: write a size with a unit",
    "resources.requests.memory=768": "resources.requests.memory=768 is not valid: write a size with a unit",
    "resources.limits.memory=768m": "resources.limits.memory=768m is not valid: write a size with a unit",
    "resources.limits.memory=768MB": "resources.limits.memory=768MB is not valid: write a size with a unit",
    "resources.limits.memory=768k": "resources.limits.memory=768k is too little for any container of this chart",
    "resources.limits.cpu=two": "resources.limits.cpu=two is not valid: write a number of CPUs",
    "resources.limits.cpu=1000": "resources.limits.cpu=1000 is not valid: write a number of CPUs",
    "resources.limits.cpu=0": "resources.limits.cpu=0 leaves the container nothing",
    "resources.limits.cpu=500m": "resources.requests.cpu=1 is more than resources.limits.cpu=500m",
    "resources.requests.memory=1Gi": "resources.requests.memory=1Gi is more than resources.limits.memory=768Mi",
    "resources.limit.cpu=1": "additional properties 'limit' not allowed",
    "loadTest.resources.limits.memory=0.5": "loadTest.resources.limits.memory=0.5 is not valid",
    "frontend.resources.requests.cpu=2": "is more than frontend.resources.limits.cpu=1",
    # The drift service reads what all pods logged.
    "drift.enabled=true": "drift.enabled reads the payload log of all pods, and settings.payload_log is not set",
    "drift.checkSchedule=@daily": "drift.checkSchedule reads the payload log of all pods",
    "drift.checkSchedule=daily": "drift.checkSchedule=daily is not valid: write a schedule of cron with five fields",
    "drift.enabled=true,settings.payload_log=otlp+http://collector:4318": "cannot read back what settings.payload_log",
    "drift.enabled=true,settings.payload_log=/tmp/payloads": "drift.enabled reads a folder from payloadLog.claimName",
    "drift.enabled=true,settings.payload_log=s3://ours/log,drift.image=drift": "drift.image=drift does not say",
    "drift.window=10": "/drift/window",
    "tmpSizeLimit=big": "tmpSizeLimit=big is not valid: write a size with a unit, such as 256Mi",
    "tmpSizeLimit=256": "tmpSizeLimit=256 is not valid: write a size with a unit, such as 256Mi",
    "fullnameOverride=Cards": "fullnameOverride=Cards is not valid: write a name of Kubernetes",
    f"fullnameOverride={LONG}": "is not valid: write a name of Kubernetes: at most 53",
    "fullnameOverride=my_cards": "fullnameOverride=my_cards is not valid",
    "fullnameOverride=2cards": "must start with a lower-case letter",
    f"nameOverride={LONG}": "is not valid: write a name of Kubernetes",
    "artifact.source=volume,artifact.claimName=Models": "artifact.claimName=Models is not valid",
    "auth.existingSecret=API_KEYS": "auth.existingSecret=API_KEYS is not valid: write a name of Kubernetes",
    "auth.existingSecret=keys,auth.key=a/b": "auth.key=a/b is not valid: write the name of a key in a Secret",
    "tls.existingSecret=cert.": "tls.existingSecret=cert. is not valid",
    "serviceAccount.name=Cards": "serviceAccount.name=Cards is not valid",
    "priorityClassName=very high": "priorityClassName=very high is not valid",
    "image.repository=Cards": "image.repository=Cards is not valid: write an image in lower-case letters",
    "image.repository=https://registry.example.com/cards": "without scheme, tag and digest",
    "image.repository=cards:1": "image.repository=cards:1 is not valid",
    "image.tag=a b": "image.tag=a b is not valid: write a tag",
    f"image.tag={LONG * 3}": "is not valid: write a tag: at most 128",
    "image.digest=sha256:1": "'/image/digest': 'sha256:1' does not match pattern",
    "loadTest.image=https://a/load:1": "loadTest.image=https://a/load:1 is not valid: write an image without scheme",
    "ingress.hosts={https://cards.example.com}": "write a host name in lower-case letters, without scheme",
    "ingress.hosts={cards.example.com:8080}": "is not valid: write a host name",
    "ingress.enabled=true,ingress.hosts={10.0.0.1}": "ingress.hosts=10.0.0.1 is not valid: write a host name",
    "gateway.hostnames={Cards.example.com}": "gateway.hostnames=Cards.example.com is not valid",
    "ingress.paths={/v2 models}": "ingress.paths=/v2 models is not valid: write a path prefix",
    "podLabels.team=a b": "podLabels.team=a b is not valid: write the value of a label",
    f"podLabels.team={LONG}": "is not valid: write the value of a label: at most 63",
    "podLabels.my team=a": "the key of podLabels=my team is not valid: write a key",
    "podAnnotations.a b=1": "the key of podAnnotations=a b is not valid: write a key",
    "nodeSelector.disk=very fast": "nodeSelector.disk=very fast is not valid",
    "monitoring.interval=15": "monitoring.interval=15 is not valid: write a time with a unit, such as 15s",
    "monitoring.interval=0s": "monitoring.interval=0s is not valid",
    "monitoring.rules.alertLabels.my-team=ml": "is not valid: write a label of Prometheus",
    "autoscaling.keda.window=soon": "autoscaling.keda.window=soon is not valid: write a time with a unit",
    "autoscaling.keda.serverAddress=prometheus:9090": "is not valid: write an address with scheme",
    "autoscaling.keda.inFlightPerPod=many": "autoscaling.keda.inFlightPerPod=many is not valid: write a number",
    "autoscaling.keda.inFlightPerPod=0": "'/autoscaling/keda/inFlightPerPod': exclusiveMinimum: got 0, want 0",
    "rollout.maxSurge=some": "rollout.maxSurge=some is not valid: write a number of pods, such as 1, or a share",
    "rollout.maxUnavailable=-1": "rollout.maxUnavailable=-1 is not valid",
    "probes.startup.periodSecond=1": "additional properties 'periodSecond' not allowed",
    "probes.liveness.timeoutSeconds=0": "minimum: got 0, want 1",
    "extraEnv[0].name=A=B": "a name of extraEnv=A=B is not valid",
    "extraEnv[0].name=A,extraEnv[0].value=1,extraEnv[0].valueFrom.fieldRef.fieldPath=x": "both value and valueFrom",
    "imagePullSecrets[0].nam=x": "missing property 'name'",
    "rollout.minReadySeconds=3000000000": "maximum: got 3",
    "probes.liveness.failureThreshold=3000000000": "maximum: got 3",
    "extraEnvFrom[0].name=a": "additional properties 'name' not allowed",
    "tolerations[0].effect=Never": "value must be one of 'NoSchedule', 'PreferNoSchedule', 'NoExecute'",
    "podSecurityContext.runAsUser=me": "got string, want null or integer",
    "securityContext.readOnlyRootFilesystem=maybe": "got string, want null or boolean",
    "autoscaling.behavior.scaleUp.selectPolicy=All": "value must be one of 'Max', 'Min', 'Disabled'",
    "autoscaling.behavior.scaleUP.selectPolicy=Max": "additional properties 'scaleUP' not allowed",
    "networkPolicy.from[0].pods=a": "additional properties 'pods' not allowed",
    "extraVolumes[0].name=more": "extraVolumes: more has no source: add one, such as emptyDir: {}",
    "extraVolumes[0].name=My_Data,extraVolumes[0].emptyDir.medium=Memory": "extraVolumes=My_Data is not valid",
    "extraVolumeMounts[0].name=tmp,extraVolumeMounts[0].mountPath=/a:b": "mountPath=/a:b has a colon",
    "extraContainers[0].name=Side,extraContainers[0].image=a:1": "extraInitContainers=Side is not valid",
    # Values that have no effect.
    "payloadLog.claimName=log": "payloadLog.claimName=log has no effect: it is mounted at the folder that settings",
    "payloadLog.claimName=log,settings.payload_log=s3://a/b": "payloadLog.claimName=log has no effect",
    "payloadLog.claimName=log,settings.payload_log=payloads": "settings.payload_log=payloads is a relative path",
    "settings.payload_log=/payloads": "settings.payload_log=/payloads is on the read-only root: name a claim",
    "settings.tracing=true": "send to OTEL_EXPORTER_OTLP_ENDPOINT, and the pod has none: add it to extraEnv",
    "settings.otlp_metrics=true": "send to OTEL_EXPORTER_OTLP_ENDPOINT, and the pod has none",
    "ingress.hosts={a.example}": "ingress.hosts has no effect without ingress.enabled: set it, or remove the value",
    "ingress.tlsSecret=cert": "ingress.tlsSecret has no effect without ingress.enabled",
    "gateway.parentRefs[0].name=web": "gateway.parentRefs has no effect without gateway.enabled",
    "gke.securityPolicy=armor": "gke.securityPolicy has no effect without gke.enabled",
    "frontend.image=a:1": "frontend.image has no effect without frontend.enabled",
    "loadTest.image=a:1": "loadTest.image has no effect without loadTest.enabled",
    "monitoring.labels.release=a": "monitoring.labels has no effect without a monitor in monitoring.scrape",
    "monitoring.rules.alertLabels.team=ml": "alertLabels has no effect without monitoring.rules.enabled",
    "autoscaling.keda.authenticationRef=a": "authenticationRef has no effect without autoscaling.kind=keda",
    "mode=kserve,service.annotations.a=b": "service.annotations has no effect without mode=deployment",
    "settings.model_control=true": "settings.model_control needs artifact.models",
    "networkPolicy.enabled=false,networkPolicy.extraEgress[0].ports[0].port=4317": "extraEgress has no effect",
    "loadTest.gate=true": "loadTest.gate has no effect without loadTest.enabled",
    "replicaCount=0": "replicaCount=0 answers no request: set 1 or more",
    "podDisruptionBudget.maxUnavailable=0": "no node could ever be drained: set 1 or more",
    "podDisruptionBudget.maxUnavailable=2": "limits nothing, because 2 pods run",
    "shutdown.preStopSeconds=8": "shutdown.preStopSeconds=8 is not above settings.grpc_connection_s=10",
    "shutdown.preStopSeconds=0": "shutdown.preStopSeconds=0 is not above settings.grpc_connection_s=10",
    "settings.grpc_connection_s=30": "shutdown.preStopSeconds=15 is not above settings.grpc_connection_s=30",
    "autoscaling.kind=hpa,autoscaling.minReplicas=20": "maxReplicas=10 is less than autoscaling.minReplicas=20",
    "autoscaling.kind=keda,autoscaling.keda.fallback.replicas=20": "keda.fallback.replicas=20 is more than",
    "autoscaling.minReplicas=0": "autoscaling.minReplicas=0 needs autoscaling.kind=keda, and it is none",
    "autoscaling.kind=hpa,autoscaling.minReplicas=0": "needs autoscaling.kind=keda, and it is hpa",
    "autoscaling.kind=keda,autoscaling.minReplicas=0": "needs a trigger that can start the first pod",
    "autoscaling.kind=keda,autoscaling.minReplicas=0,autoscaling.keda.extraTriggers[0].type=cpu": "can start the first",
    "mode=kserve,autoscaling.kind=keda,autoscaling.minReplicas=0": "minReplicas=0 needs mode=deployment",
    "autoscaling.kind=keda,autoscaling.keda.wake.query=x": "autoscaling.keda.wake.query has no effect without",
    "autoscaling.keda.wake.query=x": "autoscaling.keda.wake.query has no effect without autoscaling.kind=keda",
    "rollout.minReadySeconds=300": "rollout.minReadySeconds=300 is not below rollout.progressDeadlineSeconds=300",
    "artifact.claimName=models": "artifact.claimName is read with artifact.source=volume alone",
    "artifact.credentialsSecret=bucket": "artifact.credentialsSecret is read with artifact.source=fetch alone",
    "artifact.more[0].uri=gs://a/b": "artifact.more[0]: uri and digest are read with artifact.source=fetch alone",
    "artifact.more[0].path=/app/artifact": "artifact.more[0].path=/app/artifact is served already",
    "artifact.more[0].path=/a:b": "artifact.more[0].path=/a:b has a colon",
    "artifact.more[0].name=b": "additional properties 'name' not allowed",
    f"{FETCH},artifact.more[0].uri=b": "artifact.more[0].uri=b is not valid: with artifact.source=fetch write",
    f"{FETCH},artifact.more[0].uri=gs://a/b": "artifact.more[0].digest=<nil> is not valid",
    f"{FETCH},artifact.models=/models": "artifact.models is read with artifact.source=image and volume",
    f"artifact.models=/models,artifact.digest={DIGEST}": "with artifact.models alone there is none",
    "mode=kserve,kserve.kind=ServingRuntime,artifact.models=/models": "have no effect with kserve.kind=ServingRuntime",
    "autoscaling.kind=hpa,autoscaling.hpa.targetCPUUtilization=100": "it would never be exceeded",
    "auth.key=other": "auth.key=other has no effect without auth.existingSecret",
    "monitoring.slos[0].model=a,monitoring.slos[0].latency.threshold_ms=25": "monitoring.slos has no effect with",
    "monitoring.slos[0].model=a,monitoring.slos[0].latency.threshold_ms=30": "latency/threshold_ms'",
    "monitoring.slos[0].model=a": "missing property 'latency'",
    "monitoring.slos[0].model=a b,monitoring.slos[0].latency.threshold_ms=25": "does not match pattern",
    "monitoring.rules.enabled=true,monitoring.slos[0].model=a,monitoring.slos[0].latency.threshold_ms=25,"
    "monitoring.slos[1].model=a,monitoring.slos[1].latency.threshold_ms=50": "monitoring.slos has two SLOs for model a",
    "loadTest.report.claimName=reports": "loadTest.report has no effect without loadTest.enabled",
    "loadTest.enabled=true,loadTest.image=a:1,loadTest.report.credentialsSecret=a": "without loadTest.report.uri",
    "loadTest.report.uri=ftp://a": "does not match pattern",
    "monitoring.alerting.enabled=true": "monitoring.alerting.enabled needs monitoring.alerting.pages",
    "monitoring.alerting.pages.webhookConfigs[0].url=http://a": "have no effect with monitoring.alerting.enabled=false",
    "monitoring.alerting.enabled=true,monitoring.alerting.pages.webhook_configs[0].url=http://a": "is no receiver of",
    "tls.caConfigMap=ca": "tls.caConfigMap=ca is read by a Gateway with tls.existingSecret alone",
    "tls.caConfigMap=CA": "tls.caConfigMap=CA is not valid: write a name of Kubernetes",
    "networkPolicy.enabled=false,networkPolicy.from[0].podSelector.matchLabels.a=b": "networkPolicy.from has no effect",
    "serviceAccount.create=false,serviceAccount.annotations.a=b": "serviceAccount.annotations has no effect",
    "service.nodePorts.http=30080": "service.nodePorts.http=30080 needs service.type=NodePort or LoadBalancer",
    "service.type=NodePort,service.nodePorts.http=30080,service.nodePorts.grpc=30080": "are both 30080",
    "service.type=NodePort,service.nodePorts.bento=30080,bento.enabled=false": "service.nodePorts.bento has no effect",
    "service.nodePorts.http=70000": "maximum: got 70,000, want 65,535",
    "mode=kserve,service.type=NodePort": "service.type=NodePort has no effect with mode=kserve",
    "kserve.canaryTrafficPercent=10": "kserve.canaryTrafficPercent=10 has no effect in KServe's Standard mode",
    "mode=kserve,kserve.canaryTrafficPercent=10": "all requests would go to the new revision; use `lading canary`",
    "mode=kserve,kserve.annotations.serving\\.kserve\\.io/deploymentMode=Knative": "Knative allows one port",
    "mode=kserve,kserve.annotations.serving\\.kserve\\.io/deploymentMode=Serverless": "use Standard",
    "mode=kserve,kserve.kind=ServingRuntime,loadTest.enabled=true,loadTest.image=a:1": "has no pods to ask",
    "gateway.hostnames={a.example},gateway.grpcHostnames={a.example}": "give gRPC a host name of its own",
    "podLabels.app\\.kubernetes\\.io/name=other": "podLabels.app.kubernetes.io/name is set by the chart",
    "monitoring.rules.exclude={Nothing}": "monitoring.rules.exclude names Nothing, which is no alert of this chart",
    "probes.liveness.successThreshold=2": "probes.liveness.successThreshold=2 must be 1",
    "probes.readiness.terminationGracePeriodSeconds=9": "probes.readiness.terminationGracePeriodSeconds has no effect",
    "rollout.maxUnavailable=150%": "rollout.maxUnavailable=150% is more than all pods",
    "autoscaling.kind=keda,monitoring.interval=1m": "window=1m is less than two scrapes of monitoring.interval=1m",
    "kserve.kind=ServingRuntime": "have no effect with mode=deployment",
    "podSecurityContext.runAsUser=0": "podSecurityContext.runAsUser=0 is root",
    "securityContext.privileged=true": "securityContext.privileged=true needs allowPrivilegeEscalation=true",
    "extraContainers[0].name=side": "missing property 'image'",
    "imagePullSecrets[0].name=Registry": "imagePullSecrets=Registry is not valid: write a name of Kubernetes",
    "extraVolumes[0].name=tmp,extraVolumes[0].emptyDir.medium=Memory": "extraVolumes: a volume tmp exists already",
    "extraVolumeMounts[0].name=more,extraVolumeMounts[0].mountPath=/more": "no volume is named more",
    "extraVolumeMounts[0].name=tmp,extraVolumeMounts[0].mountPath=/tmp": "/tmp is mounted already",
    "extraContainers[0].name=server,extraContainers[0].image=a:1": "a container server exists already",
}
"""The sentence, or a part of it, by the argument of ``--set``."""
ACCEPTED = [
    *("resources.requests.cpu=500m", "resources.limits.cpu=2", "resources.limits.memory=2000000000"),
    *("resources.limits.memory=1.5Gi", "resources.limits.nvidia\\.com/gpu=1", "resources.limits.cpu=null"),
    *("rollout.maxSurge=25%", "rollout.maxUnavailable=1", "image.repository=registry.example.com:5000/team/cards"),
    *(
        "image.repository=localhost/cards",
        "ingress.enabled=true,ingress.hosts={*.example.com}",
        "podLabels.example\\.com/team=ml",
    ),
    *("replicaCount=1", "replicaCount=null", "shutdown.preStop=none", "monitoring.interval=500ms"),
    *("shutdown.preStopSeconds=5,settings.grpc_connection_s=3", "spread.zones=off", "spread.zones=false"),
    *("service.type=NodePort,service.nodePorts.http=30080", "autoscaling.keda.inFlightPerPod=0.7"),
    "mode=kserve,kserve.annotations.serving\\.kserve\\.io/deploymentMode=RawDeployment",
    "autoscaling.kind=keda,autoscaling.minReplicas=0,autoscaling.keda.wake.query=sum(haproxy_backend_current_sessions)",
    "autoscaling.kind=keda,autoscaling.minReplicas=0,autoscaling.keda.extraTriggers[0].type=cron",
    *("artifact.more[0].path=/b", "artifact.models=/models", "artifact.models=/models,artifact.path=/a"),
    f"{FETCH},artifact.more[0].uri=gs://a/b,artifact.more[0].digest={DIGEST}",
    "autoscaling.kind=hpa,resources.requests.cpu=300m,autoscaling.hpa.targetCPUUtilization=200",
    *("podSecurityContext.runAsUser=null", "probes.readiness.successThreshold=2"),
]


@pytest.mark.parametrize("sets", REFUSED)
def test_a_value_without_sense_or_effect_is_refused(sets: str) -> None:
    result = helm("template", "cards", str(CHART), "--set", sets)
    assert result.returncode != 0, "taken"
    assert REFUSED[sets] in result.stderr
    (sentence,) = [line for line in result.stderr.splitlines() if REFUSED[sets] in line]
    assert len(sentence) <= 500


@pytest.mark.parametrize(
    ("sets", "meant"),
    [
        ("replicas=3", "'replicaCount'"),
        ("Image.tag=1", "'image'"),
        ("imagePullSecret[0].name=a", "'imagePullSecrets'"),
        ("image.name=cards", "'repository', 'tag', 'digest'"),
        ("image.Tag=1", "'tag'"),
        ("settings.deadlin_ms=5", "'deadline_ms'"),
        ("settings.MAX_QUEUE=5", "'max_queue'"),
        ("settings.log-level=info", "'log_level'"),
        ("autoscaling.min=2", "'minReplicas', 'maxReplicas'"),
        ("autoscaling.keda.threshold=2", "'inFlightPerPod'"),
        ("probes.liveness.timeout=2", "'timeoutSeconds'"),
        ("podDisruptionBudget.minAvailable=1", "'maxUnavailable'"),
        ("loadTest.argument=1", "'args'"),
    ],
)
def test_an_unknown_key_is_refused_with_the_keys_that_it_may_have_meant(sets: str, meant: str) -> None:
    result = helm("template", "cards", str(CHART), "--set", sets)
    assert "not allowed" in result.stderr
    assert meant in result.stderr
    assert max(len(line) for line in result.stderr.splitlines()) <= 500


@pytest.mark.parametrize("sets", ACCEPTED)
def test_a_value_with_sense_is_taken(sets: str) -> None:
    result = helm("template", "cards", str(CHART), "--set", sets)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "sets",
    [
        SMALL,
        keda("http://127.0.0.1:9090"),
        sleepy("http://127.0.0.1:9090"),
        ("mode=kserve", "service=null", *keda_under_kserve("http://127.0.0.1:9090")),
    ],
    ids=["small", "keda", "zero", "kserve"],
)
def test_what_the_tests_on_a_cluster_set_is_taken(sets: tuple[str, ...], tmp_path: Path) -> None:
    """Those with LADING_E2E=full run seldom, and the chart refuses more with each change."""
    file = tmp_path / "values.json"
    file.write_text(json.dumps(values("cards", "e2e", f"sha256:{LONG}")))
    options = [word for value in sets for word in ("--set", value)]
    result = helm("template", "cards", str(CHART), "--values", str(file), *options)
    assert result.returncode == 0, result.stderr
