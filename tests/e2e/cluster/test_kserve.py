"""KServe in Standard mode: the chart's InferenceService, and a runtime that serves an artifact of a volume."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.cluster import prometheus
from tests.e2e.cluster.kube import ROOT, Release, run, wait_until
from tests.e2e.cluster.prometheus import Prometheus
from tests.e2e.cluster.replicas import watched
from tests.e2e.cluster.report import under_load
from tests.e2e.cluster.scale import FULL, RATE
from tests.e2e.cluster.values import keda_under_kserve

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


def test_keda_adds_pods_and_takes_them_away(kserved: Release, photo: Path) -> None:
    """The chart's own ScaledObject on the Deployment that KServe makes, which KServe leaves alone then."""
    if "scaledobjects" not in run("kubectl", "api-resources", "--no-headers", check=False) or not prometheus.found():
        pytest.skip("KEDA is not in the cluster, or Prometheus not on this machine")
    with Prometheus(kserved) as source:
        kserved.upgrade(*keda_under_kserve(source.url), force=True)
        kserved.kubectl("wait", "--for=condition=Ready", "scaledobject/kserved", "--timeout=60s")
        wait_until("one pod is left", lambda: len(kserved.pods()) == 1, seconds=180)
        with watched(kserved.namespace, kserved.deployment) as replicas:
            with under_load(kserved.url, kserved.grpc, photo, 10.0) as report:
                wait_until("two pods are ready", lambda: replicas[-1].ready >= 2, seconds=180)
            wait_until("one pod is left again", lambda: replicas[-1].wanted == 1, seconds=240)
        assert report.failed == 0, report


class Runtime:
    """The files of k8s/kserve with the image under test, as a user writes them into kustomization.yaml."""

    def __init__(self, release: Release, claim: str, folder: Path) -> None:
        self.release, self.claim = release, claim
        self.folder = folder / "kserve"
        shutil.copytree(ROOT / "k8s" / "kserve", self.folder)
        image: dict[str, Any] = release.values["image"]
        kustomization = yaml.safe_load((self.folder / "kustomization.yaml").read_text())
        kustomization["images"] = [{"name": "lading", "newName": image["repository"], "newTag": image["tag"]}]
        (self.folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))

    def serve(self, file: str, digest: str) -> str:
        """Apply an example with the claim as its storage, wait until it is ready, and return its name."""
        service = yaml.safe_load((self.folder / file).read_text())
        predictor = service["spec"]["predictor"]
        predictor["model"]["storageUri"] = f"pvc://{self.claim}/cards"
        predictor["model"]["resources"] = self.release.values["resources"]
        predictor["minReplicas"] = 1
        for variable in predictor["model"].get("env", []):
            assert variable["name"] == "LADING_DIGEST"
            variable["value"] = digest
        name = str(service["metadata"]["name"])
        self.release.kubectl("apply", "--filename", "-", stdin=json.dumps(service))
        self.release.kubectl("wait", "--for=condition=Ready", f"inferenceservice/{name}", "--timeout=180s")
        return name


@pytest.fixture
def runtime(kserved: Release, artifact: Path, claim: str, tmp_path: Path) -> Iterator[Runtime]:
    """The runtime of the cluster, and a claim with the artifact. Needs a volume that is a folder of this machine."""
    volume = tmp_path / "volume"
    if not volume.is_dir():
        pytest.skip("the cluster's claims are no folders of this machine")
    shutil.copytree(artifact, volume / "cards")
    kserved.upgrade("replicaCount=1", force=True)
    found = Runtime(kserved, claim, tmp_path)
    run("kubectl", "apply", "-k", str(found.folder))
    yield found
    kserved.kubectl("delete", "inferenceservice", "cards", "cards-grpc", "cards-volume", "--ignore-not-found")
    run("kubectl", "delete", "-k", str(found.folder))


@pytest.mark.parametrize("file", ["rest.yaml", "grpc.yaml", "volume.yaml"])
def test_the_runtime_serves_what_an_inference_service_names(runtime: Runtime, artifact: Path, file: str) -> None:
    release = runtime.release
    name = runtime.serve(file, release.values["artifact"]["digest"])
    ports = NODE_PORTS | {"metadata": {"name": f"{name}-node-ports"}}
    ports["spec"] = NODE_PORTS["spec"] | {"selector": {"serving.kserve.io/inferenceservice": name}}  # type: ignore[operator]
    release.kubectl("apply", "--filename", "-", stdin=json.dumps(ports))
    try:
        served = Release(name, release.namespace, {"mode": "kserve"})
        words = ("check", str(artifact), "--url", served.url, "--grpc", served.grpc)
        said = run(sys.executable, "-m", "lading", *words)
        assert said.count("gives the golden answers") == 2
    finally:
        release.kubectl("delete", "service", f"{name}-node-ports")
