"""Every pod in k8s, of whatever kind, is restricted and bounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.given.pod_specs import pod_specs
from tests.k8s.tools import ROOT

USES_THE_API = {"canary", "receiver", "frontend"}
"""Containers that talk to Kubernetes or to Google as their ServiceAccount. The others get no token."""
SETS_THE_CONTEXT = {"ClusterServingRuntime", "ServingRuntime", "InferenceService"}
"""Kinds whose pods get parts of their security from KServe or from each other."""


PODS = [
    pytest.param(pod, document["kind"], id=f"{file.relative_to(ROOT / 'k8s')} {document['kind']}")
    for file in sorted((ROOT / "k8s").rglob("*.yaml"))
    for document in yaml.safe_load_all(file.read_text())
    if document and "kind" in document
    for pod in pod_specs(document)
]


@pytest.mark.parametrize(("pod", "kind"), PODS)
def test_a_pod_may_do_no_more_than_it_needs(pod: dict[str, Any], kind: str) -> None:
    containers = [*pod["containers"], *pod.get("initContainers", [])]
    if kind not in SETS_THE_CONTEXT:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        needs_token = any(container["name"] in USES_THE_API for container in containers)
        assert pod.get("automountServiceAccountToken") is needs_token
        assert "serviceAccountName" in pod or not needs_token
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    for container in containers:
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert "privileged" not in security


@pytest.mark.parametrize(("pod", "kind"), PODS)
def test_a_pod_has_limits_of_memory_and_disk(pod: dict[str, Any], kind: str) -> None:
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        resources = container["resources"]
        assert resources["requests"].keys() >= {"cpu", "memory"}, container["name"]
        assert "memory" in resources["limits"], container["name"]
    for volume in pod.get("volumes", []):
        assert "hostPath" not in volume
        assert "sizeLimit" in volume.get("emptyDir", {"sizeLimit": ""}), volume["name"]


def test_there_are_such_pods() -> None:
    assert len(PODS) > 8
    assert Path(ROOT / "k8s").is_dir()
