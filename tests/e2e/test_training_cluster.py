"""k8s/training on the cluster that KUBECONFIG names: two pods train, and the artifact comes out of the volume.

The cluster must have the trainer's image: LADING_TRAINER_IMAGE, lading-trainer:1 by default (`make trainer-image`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.trainer_pods import (
    NAMESPACE,
    TRAINING,
    kubectl,
    model_volume,
    more_arguments,
    needs_trainer,
    overlay,
    tiny_model,
    training_volume,
    wait_for_job,
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
    assert isinstance(spec, dict)
    return spec


PODS = {
    f"{folder}/{manifest['kind']}": pod_spec(manifest)
    for folder in (".", "build")
    for manifest in manifests(TRAINING / folder)
    if manifest["kind"] == "Job"
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


@pytest.mark.slow
@needs_trainer
def test_two_pods_train_together_and_the_artifact_comes_out_of_the_volume(tmp_path: Path) -> None:
    pod = "/spec/template/spec"
    tiny = [*tiny_model(pod, "containers/0"), model_volume(pod)]
    name = {"op": "replace", "path": f"{pod}/containers/0/env/1/value", "value": "tiny-image"}
    training = overlay(tmp_path / "training", TRAINING, "Job", [*tiny, *more_arguments(pod, "containers/0")])
    building = overlay(tmp_path / "building", TRAINING / "build", "Job", [*tiny, name])
    with training_volume(tmp_path / "volume"):
        try:
            kubectl("apply", "-k", str(training))
            wait_for_job("training")
            logs = [
                kubectl("-n", NAMESPACE, "logs", "-l", f"batch.kubernetes.io/job-completion-index={n}") for n in "01"
            ]
            assert "checkpoint: /output/run/tiny-image.safetensors" in logs[0]
            assert "checkpoint: " not in logs[1]
            kubectl("apply", "-k", str(building))
            wait_for_job("build")
            shown = kubectl("-n", NAMESPACE, "logs", "job/build")
            assert "weights: /output/run/tiny-image.safetensors" in shown
            assert "artifact: /output/artifact" in " ".join(shown.split())
        finally:
            kubectl("delete", "namespace", NAMESPACE, "--wait=true", "--timeout=120s")


@pytest.mark.slow
@needs_trainer
@pytest.mark.parametrize(
    ("name", "model", "few"),
    [
        ("molecules", "models/molecules.py:Molecules", ("model.molecules=400",)),
        ("cards", "models/cards.py:Cards", ("model.train_examples=106", "model.side=64")),
    ],
)
def test_the_image_trains_a_reference_model(name: str, model: str, few: tuple[str, ...], tmp_path: Path) -> None:
    """Two pods, one epoch: the image holds the model's file and what it imports, and its data need no download."""
    pod = "/spec/template/spec"
    patch = [
        {"op": "replace", "path": f"{pod}/containers/0/env/0/value", "value": model},
        {"op": "replace", "path": f"{pod}/containers/0/resources/requests/cpu", "value": "100m"},
        *more_arguments(pod, "containers/0", *few, epochs=1),
    ]
    with training_volume(tmp_path / "volume"):
        try:
            kubectl("apply", "-k", str(overlay(tmp_path / "training", TRAINING, "Job", patch)))
            wait_for_job("training")
            first = kubectl("-n", NAMESPACE, "logs", "-l", "batch.kubernetes.io/job-completion-index=0", "--tail=-1")
            assert f"checkpoint: /output/run/{name}.safetensors" in first
        finally:
            kubectl("delete", "namespace", NAMESPACE, "--wait=true", "--timeout=120s")
