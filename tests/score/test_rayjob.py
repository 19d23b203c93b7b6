"""The job for a cluster: a RayJob whose pods are valid, unprivileged and bounded, and whose command exists."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from kubernetes import client

from lading.cli import app

ROOT = Path(__file__).parents[2]
JOB = yaml.safe_load((ROOT / "k8s" / "batch" / "rayjob.yaml").read_text())
CLUSTER = JOB["spec"]["rayClusterSpec"]
GROUPS = [CLUSTER["headGroupSpec"], *CLUSTER["workerGroupSpecs"]]
PODS = [group["template"] for group in GROUPS]
# The fields of KubeRay's v1 API that may be used here.
JOB_FIELDS = {
    "entrypoint", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "backoffLimit", "submissionMode",
    "rayClusterSpec",
}  # fmt: skip
GROUP_FIELDS = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}


def unknown(value: Any, kind: str, path: str) -> Iterator[str]:
    """Every key that the Kubernetes API of that type does not have, by its path."""
    if kind.startswith("list["):
        for index, item in enumerate(value):
            yield from unknown(item, kind[5:-1], f"{path}[{index}]")
    elif hasattr(client, kind):
        model = getattr(client, kind)
        names = {wire: name for name, wire in model.attribute_map.items()}
        for key, inner in value.items():
            if key in names:
                yield from unknown(inner, model.openapi_types[names[key]], f"{path}.{key}")
            else:
                yield f"{path}.{key}"


def test_it_is_a_ray_job_of_a_head_and_workers() -> None:
    assert (JOB["apiVersion"], JOB["kind"]) == ("ray.io/v1", "RayJob")
    assert set(JOB["spec"]) <= JOB_FIELDS
    assert set(CLUSTER) == {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"}
    for group in GROUPS:
        assert set(group) <= GROUP_FIELDS
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    assert all(group["minReplicas"] <= group["replicas"] <= group["maxReplicas"] for group in GROUPS[1:])


def test_its_ports_need_a_token_and_are_open_to_its_own_pods_and_the_operator_only() -> None:
    assert CLUSTER["authOptions"] == {"mode": "token"}
    assert [int(part) for part in CLUSTER["rayVersion"].split(".")[:2]] >= [2, 52], "the first Ray with tokens"
    policy = yaml.safe_load((ROOT / "k8s" / "batch" / "networkpolicy.yaml").read_text())["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    own = policy["podSelector"]
    assert all(own["matchLabels"].items() <= pod["metadata"]["labels"].items() for pod in PODS)
    among_themselves, operator = policy["ingress"]
    assert among_themselves == {"from": [{"podSelector": own}]}
    assert operator["ports"] == [{"port": 8265, "protocol": "TCP"}]
    (peer,) = operator["from"]
    assert peer["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "kuberay-operator"}
    assert all(rule.get("to") or {port["port"] for port in rule["ports"]} == {53} for rule in policy["egress"])


@pytest.mark.parametrize("pod", PODS)
def test_its_pods_are_what_kubernetes_knows(pod: dict[str, Any]) -> None:
    assert list(unknown(pod, "V1PodTemplateSpec", "template")) == []
    assert list(unknown(pod | {"spek": {}}, "V1PodTemplateSpec", "template")) == ["template.spek"]


@pytest.mark.parametrize("pod", PODS)
def test_its_pods_run_as_nobody_on_a_file_system_that_they_cannot_write(pod: dict[str, Any]) -> None:
    spec = pod["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    mounted = {volume["name"] for volume in spec["volumes"]}
    for container in spec["containers"]:
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"]
        assert not security["allowPrivilegeEscalation"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"] == container["resources"]["requests"]
        assert {mount["name"] for mount in container["volumeMounts"]} == mounted
        assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in container["env"]


def test_all_run_the_image_of_make_batch_image_and_the_ray_of_its_lock() -> None:
    images = {container["image"] for pod in PODS for container in pod["spec"]["containers"]}
    command = ["make", "--dry-run", "--no-print-directory", "batch-image"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    build, kind, image = shlex.split(done.stdout)
    assert build == "docker/build"
    assert images == {image}
    containerfile = (ROOT / "docker" / f"{kind}.Containerfile").read_text()
    assert "requirements/batch.txt" in containerfile
    for lock in ("batch", "dev"):
        (locked,) = re.findall(r"^ray==([\d.]+)", (ROOT / "requirements" / f"{lock}.txt").read_text(), re.MULTILINE)
        assert CLUSTER["rayVersion"] == locked


def test_its_command_is_one_that_lading_takes() -> None:
    program, name, *arguments = shlex.split(JOB["spec"]["entrypoint"])
    assert program == "lading"
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    with command.make_context(name, arguments) as context:
        given = context.params
    assert given["ray"] == "auto"
    mounts = PODS[0]["spec"]["containers"][0]["volumeMounts"]
    assert any(str(given["output"]).startswith(mount["mountPath"] + "/") for mount in mounts)


def test_scoring_needs_nothing_that_its_extra_does_not_bring() -> None:
    """What only a server has is hidden, as it is not there in the batch image."""
    hidden = ("structlog", "starlette", "uvicorn", "grpc", "bentoml", "pydantic_settings", "torch")
    program = f"import sys; sys.modules.update(dict.fromkeys({hidden})); import lading.score.score, lading.score.scorer"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
