"""``lading retrain`` against the API server that KUBECONFIG names, with the rights of its own account and no more."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from lading.deploy.kubernetes import Cluster, Kind
from lading.deploy.retraining import Retraining
from lading.errors import KubernetesError
from tests.e2e.trainer_pods import (
    NAMESPACE,
    TRAINING,
    forwarded,
    kubectl,
    model_volume,
    more_arguments,
    needs_trainer,
    overlay,
    tiny_model,
    training_volume,
    wait_for_job,
)

MANIFESTS = TRAINING / "retraining"
ALERT = {"status": "firing", "labels": {"alertname": "LadingDrift", "model": "cards"}, "fingerprint": "abc"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("KUBECONFIG" not in os.environ, reason="names no cluster (KUBECONFIG)"),
]


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
    """With the token of the receiver's account, and the rest of the kubeconfig."""
    view: dict[str, Any] = yaml.safe_load(kubectl("config", "view", "--minify", "--raw"))
    view["users"][0]["user"] = {"token": kubectl("-n", namespace, "create", "token", "retraining")}
    (folder / "kubeconfig").write_text(yaml.safe_dump(view))
    return Cluster.connect(kubeconfig=str(folder / "kubeconfig"))


def test_an_alert_becomes_a_job_that_the_cluster_takes(namespace: str, tmp_path: Path) -> None:
    cluster = cluster_of(namespace, tmp_path)
    retraining = Retraining(cluster, namespace, 3600, ["LadingDrift"])
    said = retraining.receive({"alerts": [ALERT]})["cards"]
    assert said.startswith("started retraining-cards-")
    (job,) = json.loads(kubectl("-n", namespace, "get", "jobs", "-o", "json"))["items"]
    assert job["metadata"]["ownerReferences"][0]["name"] == "retraining-cards"
    assert job["spec"]["template"]["spec"]["initContainers"][0]["name"] == "train"
    assert retraining.receive({"alerts": [ALERT]})["cards"] == f"skipped: {job['metadata']['name']} is running"
    with pytest.raises(KubernetesError, match="403"):
        cluster.select(Kind("apps", "v1", "deployments"), namespace, "app.kubernetes.io/name=lading")
    with pytest.raises(KubernetesError, match="403"):
        Retraining(cluster, "default", 3600, ["LadingDrift"]).receive({"alerts": [ALERT]})


@needs_trainer
def test_a_notification_to_the_receiver_leaves_a_candidate_in_the_volume(tmp_path: Path) -> None:
    pod = "/spec/jobTemplate/spec/template/spec"
    patch = [
        *tiny_model(pod, "initContainers/0"),
        *more_arguments(pod, "initContainers/0"),
        *tiny_model(pod, "containers/0"),
        model_volume(pod),
        *(
            {"op": "replace", "path": f"{pod}/{container}/0/env/1/value", "value": "tiny-image"}
            for container in ("initContainers", "containers")
        ),
    ]
    folder = overlay(tmp_path / "retraining", MANIFESTS, "CronJob", patch)
    token = uuid.uuid4().hex
    with training_volume(tmp_path / "volume"):
        try:
            kubectl("apply", "-k", str(TRAINING / "base"))
            kubectl("-n", NAMESPACE, "create", "secret", "generic", "retraining-token", f"--from-literal=token={token}")
            kubectl("apply", "-k", str(folder))
            kubectl("-n", NAMESPACE, "rollout", "status", "deployment/retraining", "--timeout=180s")
            with forwarded("svc/retraining", 8070) as address:
                refused = httpx.post(f"{address}/alerts", json={"alerts": [ALERT]})
                assert refused.status_code == 401
                headers = {"authorization": f"Bearer {token}"}
                answer = httpx.post(f"{address}/alerts", json={"alerts": [ALERT]}, headers=headers)
            assert answer.status_code == 200, answer.text
            (started,) = re.findall(r"started (retraining-cards-[\w-]+)", answer.text)
            wait_for_job(started)
            shown = " ".join(kubectl("-n", NAMESPACE, "logs", f"job/{started}", "-c", "build").split())
            assert f"artifact: /output/{started}/artifact" in shown
        finally:
            kubectl("delete", "namespace", NAMESPACE, "--wait=true", "--timeout=120s")
