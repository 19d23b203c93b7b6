"""What the tests of k8s/training share: the cluster of KUBECONFIG, the trainer's image, a volume, a tiny model."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TRAINING = ROOT / "k8s" / "training"
NAMESPACE = "lading-training"
IMAGE = os.environ.get("LADING_TRAINER_IMAGE", "lading-trainer:1")
SMALL = ["data.batch_size=12", "trainer.threads=1", "optimizer.lr=0.03", "logger.wandb=false"]

JOB_S = 600
"""Far more than a Job of the tiny model takes."""

needs_trainer = pytest.mark.skipif(
    "KUBECONFIG" not in os.environ or "LADING_TRAINER_IMAGE" not in os.environ,
    reason="names no cluster with the trainer's image (KUBECONFIG, LADING_TRAINER_IMAGE)",
)


def kubectl(*words: str, given: str | None = None) -> str:
    finished = subprocess.run(["kubectl", *words], input=given, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, f"kubectl {' '.join(words)}\n{finished.stdout}{finished.stderr}"
    return finished.stdout


@contextmanager
def training_volume(folder: Path) -> Iterator[None]:
    """A cluster without a default storage class gets a folder of its node, which is taken to be this machine."""
    classes = json.loads(kubectl("get", "storageclass", "-o", "json"))["items"]
    if any("is-default-class" in str(one["metadata"].get("annotations")) for one in classes):
        yield
        return
    folder.mkdir()
    folder.chmod(0o777)
    for parent in folder.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o055)
    spec = {
        "capacity": {"storage": "20Gi"},
        "accessModes": ["ReadWriteMany"],
        "hostPath": {"path": str(folder)},
        "claimRef": {"namespace": NAMESPACE, "name": "training-output"},
    }
    manifest = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "training-test"}, "spec": spec}
    kubectl("apply", "-f", "-", given=json.dumps(manifest))
    try:
        yield
    finally:
        kubectl("delete", "pv", "training-test", "--wait=false")


def overlay(folder: Path, base: Path, kind: str, patch: list[dict[str, Any]]) -> Path:
    """A kustomization over one of ours, with the tiny model in a ConfigMap and a patch of one kind."""
    folder.mkdir()
    content = {
        "resources": [os.path.relpath(base, folder)],
        "namespace": NAMESPACE,
        "configMapGenerator": [tiny_config_map(folder)],
        "images": [{"name": "lading-trainer", "newName": IMAGE.rpartition(":")[0], "newTag": IMAGE.rpartition(":")[2]}],
        "patches": [{"target": {"kind": kind}, "patch": json.dumps(patch)}],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return folder


def tiny_config_map(folder: Path) -> dict[str, Any]:
    """The tiny model's file in a kustomization's folder, and the generator of its ConfigMap."""
    shutil.copy(ROOT / "tests" / "given" / "tiny.py", folder / "tiny.py")
    return {"name": "tiny", "files": ["tiny.py"], "options": {"disableNameSuffixHash": True}}


def tiny_model(pod: str, container: str, model: str = "TinyImage") -> list[dict[str, Any]]:
    """The patch that has a container of a pod template at ``pod`` read a tiny model, and ask for little."""
    mount = {"name": "model", "mountPath": "/model"}
    return [
        {"op": "replace", "path": f"{pod}/{container}/env/0/value", "value": f"/model/tiny.py:{model}"},
        {"op": "add", "path": f"{pod}/{container}/volumeMounts/-", "value": mount},
        {"op": "replace", "path": f"{pod}/{container}/resources/requests/cpu", "value": "100m"},
    ]


def model_volume(pod: str) -> dict[str, Any]:
    return {"op": "add", "path": f"{pod}/volumes/-", "value": {"name": "model", "configMap": {"name": "tiny"}}}


def more_arguments(pod: str, container: str, *more: str, epochs: int = 3) -> list[dict[str, Any]]:
    """The patch that makes a training short."""
    words = (*SMALL, f"trainer.max_epochs={epochs}", *more)
    return [{"op": "add", "path": f"{pod}/{container}/args/-", "value": word} for word in words]


@contextmanager
def listening(*words: str) -> Iterator[str]:
    """A kubectl command that opens a free port of this machine and prints it: `proxy`, or `port-forward`."""
    with subprocess.Popen(["kubectl", *words], stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            (address,) = re.findall(r"127\.0\.0\.1:\d+", running.stdout.readline())
            yield f"http://{address}"
        finally:
            running.terminate()


def forwarded(service: str, port: int, namespace: str = NAMESPACE) -> AbstractContextManager[str]:
    """A service of the cluster at an address of this machine."""
    return listening("-n", namespace, "port-forward", service, f":{port}")


def wait_for_job(job: str, namespace: str = NAMESPACE) -> None:
    """Return when a Job is complete; fail with its pods' last lines and its description when it has failed."""
    end = time.monotonic() + JOB_S
    ended: set[str] = set()
    while not ended and time.monotonic() < end:
        status = json.loads(kubectl("-n", namespace, "get", f"job/{job}", "-o", "json"))["status"]
        conditions = status.get("conditions", [])
        ended = {one["type"] for one in conditions if one["status"] == "True"} & {"Complete", "Failed"}
        time.sleep(1)
    if ended != {"Complete"}:
        selector = f"batch.kubernetes.io/job-name={job}"
        logs = kubectl("-n", namespace, "logs", "-l", selector, "--all-containers", "--prefix", "--tail=40")
        pytest.fail(f"{kubectl('-n', namespace, 'describe', f'job/{job}')}\n{logs}")
