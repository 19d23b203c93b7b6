"""Installed where the restricted profile is enforced, the release answers every kind of client."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
import pytest

from tests.e2e.cluster.kube import Release, run

pytestmark = pytest.mark.slow


def test_helm_test_passes(release: Release) -> None:
    said = run("helm", "test", release.name, "--namespace", release.namespace, "--logs")
    assert "REST: variant" in said
    assert "gRPC: variant" in said


def test_golden_requests_are_answered_from_outside(release: Release, artifact: Path) -> None:
    said = run(sys.executable, "-m", "lading", "check", str(artifact), "--url", release.url, "--grpc", release.grpc)
    assert said.count("gives the golden answers") == 2


def test_the_clients_that_people_use_are_answered(release: Release, photo: Path) -> None:
    addresses = (release.url, release.grpc, release.bento)
    run(sys.executable, "-m", "tests.e2e.cluster.clients", *addresses, str(photo))


def test_the_pods_are_as_restricted_as_they_claim(release: Release) -> None:
    for pod in release.pods():
        name = pod["metadata"]["name"]
        assert release.kubectl("exec", name, "--", "id", "-u").strip() == "10001"
        assert "Read-only" in release.kubectl("exec", name, "--", "touch", "/app/file", check=False)
        assert not release.kubectl("exec", name, "--", "sh", "-c", "ls /var/run/secrets 2>/dev/null || true").strip()


def test_metrics_are_there_to_scrape(release: Release) -> None:
    text = httpx.get(f"{release.url}/metrics").text
    assert "lading_model_info" in text
    assert 'lading_ready{model="cards"' in text
