"""A release on the cluster that KUBECONFIG names, in a namespace that enforces the restricted profile.

``LADING_E2E_IMAGE`` names the image, with its tag, as the cluster's nodes know it; ``make e2e-cluster`` sets it. With
``LADING_E2E=full`` the load goes on for as long as a claim about it needs.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster.kube import ROOT, Release, run
from tests.e2e.cluster.values import values


@pytest.fixture(scope="session")
def artifact() -> Path:
    """The artifact that is inside the image."""
    return ROOT / os.environ.get("LADING_E2E_ARTIFACT", "artifacts/cards")


@pytest.fixture(scope="session")
def photo() -> Path:
    return ROOT / "examples" / "ace-of-hearts.jpg"


@pytest.fixture(scope="session")
def release(artifact: Path) -> Iterator[Release]:
    """The chart, installed with two pods. What a test changes it has to change back, with ``upgrade()``."""
    image = os.environ.get("LADING_E2E_IMAGE")
    if not image:
        pytest.skip("LADING_E2E_IMAGE is not set: `make e2e-cluster` sets it, with KUBECONFIG of a cluster")
    repository, _, tag = image.rpartition(":")
    namespace = f"lading-e2e-{os.getpid()}"
    digest = hashlib.sha256((artifact / "lading.json").read_bytes()).hexdigest()
    run("kubectl", "create", "namespace", namespace)
    try:
        for mode in ("enforce", "warn"):
            run("kubectl", "label", "namespace", namespace, f"pod-security.kubernetes.io/{mode}=restricted")
        release = Release("cards", namespace, values(repository, tag, f"sha256:{digest}"))
        release.upgrade()
        yield release
    finally:
        run("kubectl", "delete", "namespace", namespace, "--wait=true", "--timeout=120s", check=False)


@pytest.fixture
def claim(release: Release, tmp_path: Path) -> Iterator[str]:
    """A claim of the cluster's own storage, or of a folder of this machine where that is the node."""
    volume = f"{release.namespace}-{tmp_path.name}".replace("_", "-")
    own = bool(run("kubectl", "get", "storageclass", "--output", "name").strip())
    kept: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}}
    if not own:
        folder = tmp_path / "volume"
        folder.mkdir()
        folder.chmod(0o777)
        for parent in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
            parent.chmod(0o755)
        spec = {"capacity": {"storage": "64Mi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": str(folder)}}
        named = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume}, "spec": spec}
        run("kubectl", "apply", "--filename", "-", stdin=json.dumps(named))
        kept |= {"storageClassName": "", "volumeName": volume}
    wanted = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": volume}, "spec": kept}
    release.kubectl("apply", "--filename", "-", stdin=json.dumps(wanted))
    yield volume
    release.kubectl("delete", "pvc", volume, "--wait=false")
    if not own:
        run("kubectl", "delete", "pv", volume, "--wait=false")
