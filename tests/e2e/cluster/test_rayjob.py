"""k8s/batch under the KubeRay operator: the pods start, find each other with their token, and score a folder.

``LADING_E2E_BATCH_IMAGE`` names the image that ``make batch-image`` built, as the cluster's nodes know it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from tests.e2e.cluster.kube import ROOT, Release, run, wait_until
from tests.e2e.cluster.scale import FULL

IMAGE = os.environ.get("LADING_E2E_BATCH_IMAGE", "")
PHOTOS = 24
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FULL, reason="LADING_E2E=full runs it"),
    pytest.mark.skipif(not IMAGE, reason="names no image that scores (LADING_E2E_BATCH_IMAGE)"),
]


@pytest.fixture
def job(release: Release, artifact: Path, photo: Path, claim: str, tmp_path: Path) -> Iterator[Path]:
    """The RayJob of k8s/batch on a node of two CPUs, applied; the folder that is its volume."""
    volume = tmp_path / "volume"
    if "rayjobs" not in run("kubectl", "api-resources", "--no-headers", check=False):
        pytest.skip("the cluster has no KubeRay operator")
    if not volume.is_dir():
        pytest.skip("the cluster's claims are no folders of this machine")
    shutil.copytree(artifact, volume / "artifacts" / "cards")
    (volume / "photos").mkdir()
    for number in range(PHOTOS):
        shutil.copyfile(photo, volume / "photos" / f"{number:02}.jpg")
    release.upgrade("replicaCount=1")
    written: dict[str, Any] = yaml.safe_load((ROOT / "k8s" / "batch" / "rayjob.yaml").read_text())
    written["spec"]["ttlSecondsAfterFinished"] = 1  # its cluster stays for ten minutes, for those who read logs
    cluster = written["spec"]["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    workers |= {"replicas": 1, "maxReplicas": 1}
    for group in (cluster["headGroupSpec"], workers):
        spec = group["template"]["spec"]
        spec["containers"][0]["image"] = IMAGE
        spec["containers"][0]["resources"] = {
            "requests": {"cpu": "200m", "memory": "1Gi"},
            "limits": {"cpu": "1", "memory": "4Gi"},
        }
        next(one for one in spec["volumes"] if one["name"] == "data")["persistentVolumeClaim"]["claimName"] = claim
    release.kubectl("apply", "--filename", str(ROOT / "k8s" / "batch" / "networkpolicy.yaml"))
    release.kubectl("apply", "--filename", "-", stdin=json.dumps(written))
    yield volume
    release.kubectl("delete", "rayjob", "lading-score")
    release.kubectl("delete", "--filename", str(ROOT / "k8s" / "batch" / "networkpolicy.yaml"))
    release.upgrade()


def test_the_operator_runs_the_job_and_every_photo_is_scored(release: Release, job: Path) -> None:
    def status() -> dict[str, Any]:
        found: dict[str, Any] = release.get("rayjob", "lading-score").get("status", {})
        return found

    wait_until("the job has ended", lambda: status().get("jobStatus") in ("SUCCEEDED", "FAILED", "STOPPED"), 420)
    assert status()["jobStatus"] == "SUCCEEDED", status()
    table = pq.read_table(job / "cards.parquet")
    assert table.num_rows == PHOTOS
    assert set(table.column("suit_label").to_pylist()) == {"hearts"}
    assert set(table.column("rank_label").to_pylist()) == {"ace"}
    pods = "ray.io/cluster"
    wait_until("no pod of the cluster is left", lambda: not release.get("pods", "--selector", pods)["items"], 120)
