"""The load test as a release gate: what meets its SLO stays, and what misses it is taken back.

``LADING_E2E_LOAD_IMAGE`` names the image that ``docker/build load`` made, as the cluster's nodes know it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import httpx
import pytest

from tests.e2e.cluster.kube import Release

IMAGE = os.environ.get("LADING_E2E_LOAD_IMAGE", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not IMAGE, reason="names no image that sends load (LADING_E2E_LOAD_IMAGE)"),
]


@pytest.fixture
def gated(release: Release) -> Iterator[Release]:
    """The release with its gate, whose pods are small ones."""
    before = deepcopy(release.values)
    release.values["loadTest"] = {
        "enabled": True,
        "gate": True,
        "image": IMAGE,
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
    }
    yield release
    release.values = before
    release.upgrade()


def send(release: Release, slo: str) -> None:
    release.values["loadTest"]["args"] = ["--rate=10", "--seconds=20", "--warm-up=5", f"--slo={slo}"]


def revision(release: Release) -> int:
    """The Job's name ends with it."""
    names = [job["metadata"]["name"] for job in release.get("jobs")["items"]]
    return max(int(name.rpartition("-")[2]) for name in names if "-load-" in name)


def test_a_release_that_meets_its_slo_stays(gated: Release) -> None:
    send(gated, "p99=5s,errors=0%,rps=8")
    gated.upgrade("podLabels.release=next")
    print("\n" + gated.kubectl("logs", f"job/{gated.name}-load-{revision(gated)}"))
    assert all(pod["metadata"]["labels"].get("release") == "next" for pod in gated.pods())


def test_one_that_misses_it_is_taken_back_and_the_one_before_serves(gated: Release, photo: Path) -> None:
    send(gated, "p99=1us,rps=8")
    said = gated.upgrade("podLabels.release=next", check=False, rollback=True)
    assert "rolled back" in said, said
    assert "-load-" in said, said
    gated.settled()
    assert not any("release" in pod["metadata"]["labels"] for pod in gated.pods())
    assert httpx.post(f"{gated.url}/classify", content=photo.read_bytes()).json()["rank"] == "ace"
