"""k8s/training on the cluster that KUBECONFIG names: two pods train, and the artifact comes out of the volume.

The cluster must have the trainer's image: LADING_TRAINER_IMAGE, lading-trainer:1 by default (`make trainer-image`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TRAINING = ROOT / "k8s" / "training"
NAMESPACE = "lading-training"
IMAGE = os.environ.get("LADING_TRAINER_IMAGE", "lading-trainer:1")
SMALL = ["data.batch_size=12", "trainer.max_epochs=3", "trainer.threads=1", "optimizer.lr=0.03"]

needs_cluster = pytest.mark.skipif(
    "KUBECONFIG" not in os.environ or "LADING_TRAINER_IMAGE" not in os.environ,
    reason="names no cluster with the trainer's image (KUBECONFIG, LADING_TRAINER_IMAGE)",
)


def manifests(folder: Path) -> list[dict[str, Any]]:
    """What a kustomization lists itself, in its order; nothing is patched in these."""
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    found: list[dict[str, Any]] = []
    for name in listed:
        path = folder / name
        found += manifests(path) if path.is_dir() else [*yaml.safe_load_all(path.read_text())]
    return found


def pod_spec(manifest: dict[str, Any]) -> dict[str, Any]:
    spec = manifest["spec"]["template"]["spec"]
    if manifest["kind"] == "TrainingRuntime":
        spec = spec["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    assert isinstance(spec, dict)
    return spec


PODS = {
    f"{folder}/{manifest['kind']}": pod_spec(manifest)
    for folder in (".", "build", "trainjob")
    for manifest in manifests(TRAINING / folder)
    if manifest["kind"] in {"Job", "TrainingRuntime"}
}


@pytest.mark.parametrize("name", PODS)
def test_every_pod_is_of_the_restricted_kind(name: str) -> None:
    spec = PODS[name]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not spec["automountServiceAccountToken"]
    security = container["securityContext"]
    assert security == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}


def test_the_index_is_the_rank_and_the_service_names_pod_0() -> None:
    found = {manifest["kind"]: manifest for manifest in manifests(TRAINING)}
    job, service = found["Job"], found["Service"]
    args = pod_spec(job)["containers"][0]["args"]
    assert job["spec"]["completionMode"] == "Indexed"
    assert f"--nnodes={job['spec']['completions']}" in args
    assert job["spec"]["parallelism"] == job["spec"]["completions"]
    name, subdomain = job["metadata"]["name"], pod_spec(job)["subdomain"]
    assert f"--master-addr={name}-0.{subdomain}" in args
    assert service["metadata"]["name"] == subdomain
    assert service["spec"]["clusterIP"] == "None"
    assert f"--master-port={service['spec']['ports'][0]['port']}" in args


def kubectl(*words: str, given: str | None = None) -> str:
    finished = subprocess.run(["kubectl", *words], input=given, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, f"kubectl {' '.join(words)}\n{finished.stdout}{finished.stderr}"
    return finished.stdout


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[None]:
    """A cluster without a default storage class gets a folder of its node, which is taken to be this machine."""
    classes = json.loads(kubectl("get", "storageclass", "-o", "json"))["items"]
    if any("is-default-class" in str(one["metadata"].get("annotations")) for one in classes):
        yield
        return
    folder = tmp_path / "volume"
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
    yield
    kubectl("delete", "pv", "training-test", "--wait=false")


def overlay(folder: Path, base: Path, patch: list[dict[str, Any]]) -> Path:
    """A kustomization over one of ours: the tiny model from a ConfigMap instead of the cards model."""
    folder.mkdir()
    shutil.copy(ROOT / "tests" / "tiny.py", folder / "tiny.py")
    volume = {"name": "model", "configMap": {"name": "tiny"}}
    model = [
        {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": IMAGE},
        {"op": "replace", "path": "/spec/template/spec/containers/0/env/0/value", "value": "/model/tiny.py:TinyImage"},
        {
            "op": "add",
            "path": "/spec/template/spec/containers/0/volumeMounts/-",
            "value": {"name": "model", "mountPath": "/model"},
        },
        {"op": "add", "path": "/spec/template/spec/volumes/-", "value": volume},
        {"op": "replace", "path": "/spec/template/spec/containers/0/resources/requests/cpu", "value": "100m"},
    ]
    content = {
        "resources": [os.path.relpath(base, folder)],
        "namespace": NAMESPACE,
        "configMapGenerator": [{"name": "tiny", "files": ["tiny.py"], "options": {"disableNameSuffixHash": True}}],
        "patches": [{"target": {"kind": "Job"}, "patch": json.dumps([*model, *patch])}],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.mark.slow
@needs_cluster
@pytest.mark.usefixtures("volume")
def test_two_pods_train_together_and_the_artifact_comes_out_of_the_volume(tmp_path: Path) -> None:
    more = [
        {"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": word}
        for word in (*SMALL, "logger.wandb=false")
    ]
    name = {"op": "replace", "path": "/spec/template/spec/containers/0/env/1/value", "value": "tiny-image"}
    training = overlay(tmp_path / "training", TRAINING, more)
    building = overlay(tmp_path / "building", TRAINING / "build", [name])
    try:
        kubectl("apply", "-k", str(training))
        wait("training")
        logs = [kubectl("-n", NAMESPACE, "logs", "-l", f"batch.kubernetes.io/job-completion-index={n}") for n in "01"]
        assert "checkpoint: /output/run/tiny-image.safetensors" in logs[0]
        assert "checkpoint: " not in logs[1]
        kubectl("apply", "-k", str(building))
        wait("build")
        shown = kubectl("-n", NAMESPACE, "logs", "job/build")
        assert "weights: /output/run/tiny-image.safetensors" in shown
        assert "artifact: /output/artifact" in " ".join(shown.split())
    finally:
        kubectl("delete", "namespace", NAMESPACE, "--wait=true", "--timeout=120s")


def wait(job: str) -> None:
    finished = subprocess.run(
        ["kubectl", "-n", NAMESPACE, "wait", f"job/{job}", "--for=condition=complete", "--timeout=480s"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    logs = ["logs", "-l", f"batch.kubernetes.io/job-name={job}", "--prefix", "--tail=40"]
    assert finished.returncode == 0, kubectl("-n", NAMESPACE, *logs) + kubectl(
        "-n", NAMESPACE, "describe", f"job/{job}"
    )
