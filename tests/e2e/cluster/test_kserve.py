"""The same chart as a KServe InferenceService in Standard mode: ready, answered, and rolled without a loss."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster.kube import Release, run, wait_until
from tests.e2e.cluster.replicas import watched
from tests.e2e.cluster.report import under_load
from tests.e2e.cluster.scale import FULL, RATE

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not FULL, reason="LADING_E2E=full runs it")]
NODE_PORTS = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "kserved-node-ports"},
    "spec": {
        "type": "NodePort",
        "selector": {"serving.kserve.io/inferenceservice": "kserved"},
        "ports": [{"name": "http", "port": 8080}, {"name": "grpc", "port": 9000}],
    },
}


@pytest.fixture(scope="module")
def kserved(release: Release) -> Iterator[Release]:
    """A second release, next to the one that is there, whose pods KServe makes."""
    if not run("kubectl", "get", "configmap", "inferenceservice-config", "--namespace", "kserve", check=False).count(
        "\n"
    ):
        pytest.skip("the cluster has no KServe")
    values = release.values | {"mode": "kserve", "extraObjects": [NODE_PORTS], "fullnameOverride": "kserved"}
    del values["service"]  # KServe makes the Service
    release.upgrade("replicaCount=1")
    found = Release("kserved", release.namespace, values)
    found.upgrade()
    found.kubectl("wait", "--for=condition=Ready", "inferenceservice/kserved", "--timeout=180s")
    found.settled()
    yield found
    run("helm", "uninstall", "kserved", "--namespace", release.namespace, "--wait")
    release.upgrade()


def test_it_is_ready_and_answers_as_the_artifact_says(kserved: Release, artifact: Path) -> None:
    said = run(sys.executable, "-m", "lading", "check", str(artifact), "--url", kserved.url, "--grpc", kserved.grpc)
    assert said.count("gives the golden answers") == 2
    inside = run("helm", "test", "kserved", "--namespace", kserved.namespace, "--logs")
    assert "REST: variant" in inside, "through the Service that KServe makes"
    assert "gRPC: variant" in inside


@pytest.mark.parametrize("autoscaler", ["none", "hpa"])
def test_a_rollout_loses_nothing_and_never_has_fewer_pods(kserved: Release, photo: Path, autoscaler: str) -> None:
    """KServe's controller was known to write one replica into a Deployment that it updates."""
    scaled = (f"autoscaling.kind={autoscaler}", "autoscaling.minReplicas=2", "autoscaling.maxReplicas=2")
    kserved.upgrade(*scaled)
    kserved.settled()
    before = {pod["metadata"]["name"] for pod in kserved.pods()}
    with watched(kserved.namespace, kserved.deployment) as replicas:
        with under_load(kserved.url, kserved.grpc, photo, RATE) as report:
            kserved.upgrade(*scaled, f"podAnnotations.rolled=for-{autoscaler}")
            wait_until("new pods", lambda: not before & {pod["metadata"]["name"] for pod in kserved.pods()})
            kserved.settled()
        time.sleep(2)
    print(f"{autoscaler}: wanted {sorted({r.wanted for r in replicas})}, ready {sorted({r.ready for r in replicas})}")
    assert report.failed == 0, report
    assert min(row.wanted for row in replicas) >= 2
    assert min(row.ready for row in replicas) >= 2
