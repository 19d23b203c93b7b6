"""``lading retrain`` against the API server that KUBECONFIG names, with the rights of its own account and no more."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lading.errors import ServerError
from lading.retraining import Cluster, Retraining

MANIFESTS = Path(__file__).parents[2] / "k8s" / "training" / "retraining"
ALERT = {"status": "firing", "labels": {"alertname": "LadingDrift", "model": "cards"}, "fingerprint": "abc"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("KUBECONFIG" not in os.environ, reason="names no cluster (KUBECONFIG)"),
]


def kubectl(*words: str, given: str | None = None) -> str:
    done = subprocess.run(["kubectl", *words], input=given, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def namespace() -> Iterator[str]:
    """A namespace of our own, restricted as lading-training is, with the account and the suspended CronJob."""
    name = f"lading-retraining-{uuid.uuid4().hex[:6]}"
    kubectl("create", "namespace", name)
    kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    try:
        for file in ("account.yaml", "cronjob.yaml", "receiver.yaml"):
            kubectl("-n", name, "apply", "-f", str(MANIFESTS / file))
        yield name
    finally:
        kubectl("delete", "namespace", name, "--wait=false")


def cluster_of(namespace: str, folder: Path) -> Cluster:
    """As the receiver's pod would see it."""
    view: dict[str, Any] = yaml.safe_load(kubectl("config", "view", "--minify", "--raw"))
    found = view["clusters"][0]["cluster"]
    (folder / "token").write_text(kubectl("-n", namespace, "create", "token", "retraining"))
    (folder / "ca.crt").write_bytes(
        base64.b64decode(found["certificate-authority-data"])
        if "certificate-authority-data" in found
        else Path(found["certificate-authority"]).read_bytes()
    )
    return Cluster(found["server"], folder / "token", folder / "ca.crt")


def test_an_alert_becomes_a_job_that_the_cluster_takes(namespace: str, tmp_path: Path) -> None:
    cluster = cluster_of(namespace, tmp_path)
    retraining = Retraining(cluster, namespace, 3600, ["LadingDrift"])
    said = retraining.take({"alerts": [ALERT]})["cards"]
    assert said.startswith("started retraining-cards-")
    (job,) = json.loads(kubectl("-n", namespace, "get", "jobs", "-o", "json"))["items"]
    assert job["metadata"]["ownerReferences"][0]["name"] == "retraining-cards"
    assert job["spec"]["template"]["spec"]["initContainers"][0]["name"] == "train"
    assert retraining.take({"alerts": [ALERT]})["cards"] == f"left: {job['metadata']['name']} runs"
    with pytest.raises(ServerError, match="403"):
        cluster.ask("GET", f"/api/v1/namespaces/{namespace}/secrets")
    with pytest.raises(ServerError, match="403"):
        Retraining(cluster, "default", 3600, ["LadingDrift"]).take({"alerts": [ALERT]})
