"""A running pod gets more and fewer CPUs: its lanes follow, and no request is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster.kube import Release, run, wait_until
from tests.e2e.cluster.report import under_load

pytestmark = pytest.mark.slow
RATE = 10.0
"""Requests per second: what a third of a CPU can answer."""


@pytest.fixture
def pod(release: Release) -> Iterator[str]:
    """The only pod, without BentoML, which would share its CPU."""
    if '"pods/resize"' not in run("kubectl", "get", "--raw", "/api/v1", check=False):
        pytest.skip("the cluster cannot resize pods: Kubernetes 1.33 can")
    release.upgrade("replicaCount=1", "bento.enabled=false")
    release.settled()
    (only,) = release.pods()
    yield only["metadata"]["name"]
    release.upgrade(force=True)
    release.settled()


def shown(release: Release, pod: str) -> dict[str, float]:
    """The gauges of CPUs and lanes."""
    path = f"/api/v1/namespaces/{release.namespace}/pods/{pod}:8080/proxy/metrics"
    lines = run("kubectl", "get", "--raw", path).splitlines()
    found = (line.split() for line in lines if line.startswith(("lading_usable_cpus ", "lading_lanes ")))
    return {name: float(value) for name, value in found}


def test_lanes_follow_a_resized_pod_under_load_and_nothing_is_lost(release: Release, photo: Path, pod: str) -> None:
    assert shown(release, pod) == {"lading_usable_cpus": 1.0, "lading_lanes": 1.0}
    seen = []
    with under_load(release.url, release.grpc, photo, RATE) as report:
        for cpu, usable, lanes in (("2", 2.0, 2.0), ("300m", 0.3, 1.0), ("1", 1.0, 1.0)):
            container = {"name": "server", "resources": {"limits": {"cpu": cpu}}}
            patch = json.dumps({"spec": {"containers": [container]}})
            release.kubectl("patch", "pod", pod, "--subresource=resize", "--patch", patch)
            wanted = {"lading_usable_cpus": usable, "lading_lanes": lanes}
            wait_until(f"{wanted}", lambda wanted=wanted: shown(release, pod) == wanted, 60)  # type: ignore[misc]
            seen.append(cpu)
    assert report.failed == 0, report
    (only,) = release.pods()
    assert only["metadata"]["name"] == pod
    assert only["status"]["containerStatuses"][0]["restartCount"] == 0
