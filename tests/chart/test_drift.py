"""``drift.enabled``: a service next to the pods, and a check on a schedule, that read what all pods logged."""

from __future__ import annotations

from typing import Any

import pytest

from tests.given.chart import one, render

BUCKET = ("image.tag=1", "settings.payload_log=s3://ours/payloads", "drift.enabled=true")
CLAIM = ("image.tag=1", "settings.payload_log=/payloads", "payloadLog.claimName=log", "drift.enabled=true")


def named(objects: list[dict[str, Any]], kind: str, name: str = "cards-drift") -> dict[str, Any]:
    return one([found for found in objects if found["metadata"]["name"] == name], kind)


def pod_of(*sets: str) -> dict[str, Any]:
    pod: dict[str, Any] = named(render(*sets), "Deployment")["spec"]["template"]["spec"]
    return pod


def test_it_reads_the_claim_that_the_pods_write_and_cannot_write_it() -> None:
    pod = pod_of(*CLAIM)
    (container,) = pod["containers"]
    assert container["args"][:2] == ["/payloads", "/app/artifact"]
    assert {"name": "payloads", "mountPath": "/payloads", "readOnly": True} in container["volumeMounts"]
    assert {"name": "payloads", "persistentVolumeClaim": {"claimName": "log", "readOnly": True}} in pod["volumes"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod["securityContext"]["runAsNonRoot"]


def test_it_opens_the_bucket_with_the_servers_account_and_credentials() -> None:
    secret = "extraEnvFrom[0].secretRef.name=bucket"
    endpoint = "extraEnv[0].name=AWS_ENDPOINT_URL,extraEnv[0].value=http://minio.store.svc:9000"
    objects = render(*BUCKET, secret, endpoint)
    pod = named(objects, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"][0] == "s3://ours/payloads"
    assert container["envFrom"] == [{"secretRef": {"name": "bucket"}}]
    assert {"name": "AWS_ENDPOINT_URL", "value": "http://minio.store.svc:9000"} in container["env"]
    assert pod["serviceAccountName"] == "cards"
    egress = named(objects, "NetworkPolicy")["spec"]["egress"]
    opened = {port["port"] for rule in egress for port in rule["ports"]}
    assert {53, 443, 9000} <= opened


def test_another_image_gets_a_copy_of_the_artifact_that_is_inside_the_servers() -> None:
    pod = pod_of(*BUCKET, "drift.image=drift:1")
    (copied,) = pod["initContainers"]
    assert (copied["image"], copied["args"]) == ("lading:1", ["/app/artifact", "/artifacts/served"])
    assert (pod["containers"][0]["image"], pod["containers"][0]["args"][1]) == ("drift:1", "/artifacts/served")
    fetched = ("artifact.source=fetch", f"artifact.digest=sha256:{'0' * 64}", "artifact.uri=gs://models/cards")
    (fetches,) = pod_of(*BUCKET, "drift.image=drift:1", *fetched)["initContainers"]
    assert fetches["resources"]["requests"]["cpu"] == "50m"  # not what a server needs


def test_the_pods_leave_drift_to_it_unless_a_setting_says_otherwise() -> None:
    def setting(*sets: str) -> str | None:
        found: str | None = named(render(*sets), "ConfigMap", "cards")["data"].get("LADING_DRIFT")
        return found

    assert setting(*BUCKET) == "false"
    assert setting(*BUCKET, "settings.drift=true") == "true"
    assert setting("image.tag=1") is None


@pytest.mark.parametrize("kind", ["ServiceMonitor", "PodMonitor", "PodMonitoring"])
def test_it_is_scraped_as_the_pods_are(kind: str) -> None:
    monitor = named(render(*BUCKET, f"monitoring.scrape={kind[0].lower()}{kind[1:]}"), kind)
    assert monitor["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"] == "drift"
    service = named(render(*BUCKET), "Service")
    assert service["metadata"]["labels"]["app.kubernetes.io/component"] == "drift"
    assert [port["name"] for port in service["spec"]["ports"]] == ["http"]


def test_a_check_runs_on_a_schedule_with_or_without_the_service() -> None:
    objects = render("image.tag=1", BUCKET[1], "drift.checkSchedule=0 6 * * *")
    job = named(objects, "CronJob")["spec"]
    assert job["schedule"] == "0 6 * * *"
    (container,) = job["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "lading", "drift", "check"]
    assert container["args"] == ["s3://ours/payloads", "/app/artifact", "--newest=500"]
    assert not [found for found in objects if found["kind"] == "Deployment" and "drift" in found["metadata"]["name"]]


def test_feedback_is_routed() -> None:
    route = one(
        render("image.tag=1", "gateway.enabled=true", "gateway.parentRefs[0].name=front", "settings.feedback=10"),
        "HTTPRoute",
    )
    assert {"path": {"type": "PathPrefix", "value": "/feedback"}} in route["spec"]["rules"][0]["matches"]
    ingress = one(render("image.tag=1", "ingress.enabled=true", "ingress.hosts[0]=cards.example.com"), "Ingress")
    assert "/feedback" in [path["path"] for path in ingress["spec"]["rules"][0]["http"]["paths"]]
