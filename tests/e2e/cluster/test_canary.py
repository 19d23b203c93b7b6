"""`lading canary` on the API server: it refuses before anything moves, and scales a release that an autoscaler owns."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.cluster import prometheus
from tests.e2e.cluster.kube import ROOT, Release, run, wait_until
from tests.e2e.cluster.prometheus import Prometheus
from tests.e2e.cluster.report import under_load
from tests.e2e.cluster.scale import FULL

pytestmark = pytest.mark.slow
STABLE, NEW = "cards", "cards-new"
SMALL = ("bento.enabled=false", "replicaCount=1")


@dataclass
class Two:
    """Two releases of one artifact, a route with both, and a Prometheus."""

    stable: Release
    new: Release
    source: Prometheus

    def canary(self, *words: str, new: str = NEW, prometheus: str = "") -> tuple[int, str]:
        """Exit code and output of the command."""
        words = (
            *(sys.executable, "-m", "lading", "canary", STABLE, new, "--route", "httproutes/cards"),
            *("--namespace", self.stable.namespace, "--prometheus", prometheus or self.source.url),
            *("--stable-url", self.stable.url, "--canary-url", self.new.url, "--steps", "50", "--minutes", "0.4"),
            *("--min-requests", "20", "--p99-ratio", "1000", *words),
        )
        ended = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT, timeout=600)
        print(ended.stdout, ended.stderr)
        return ended.returncode, " ".join((ended.stdout + ended.stderr).split())

    def weights(self) -> list[int]:
        """Of both releases, in the route."""
        (rule,) = self.stable.get("httproutes.gateway.networking.k8s.io", "cards")["spec"]["rules"]
        return [one["weight"] for one in rule["backendRefs"]]


@pytest.fixture(scope="module")
def two(release: Release) -> Iterator[Two]:
    if "httproutes" not in run("kubectl", "api-resources", "--no-headers", check=False):
        pytest.skip("the cluster does not know Gateway API's kinds")
    if not prometheus.found():
        pytest.skip("Prometheus is not on this machine")
    release.upgrade(*SMALL)
    new = Release(NEW, release.namespace, {**release.values, "fullnameOverride": NEW})
    new.upgrade(*SMALL)
    backends = [{"name": STABLE, "port": 8080, "weight": 100}, {"name": NEW, "port": 8080, "weight": 0}]
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "cards"},
        "spec": {"parentRefs": [{"name": "web"}], "rules": [{"backendRefs": backends}]},
    }
    release.kubectl("apply", "--filename", "-", stdin=json.dumps(route))
    with Prometheus(release, new) as source:
        wait_until("both are scraped twice", lambda: source.series("count_over_time(lading_ready[30s]) > 1") == 2, 60)
        yield Two(release, new, source)
    run("helm", "uninstall", NEW, "--namespace", release.namespace, "--wait")
    release.kubectl("delete", "httproute", "cards")
    release.upgrade(force=True)
    release.settled()


def test_nothing_moves_to_a_service_without_endpoints_or_without_figures(two: Two) -> None:
    code, said = two.canary(new="cards-other")
    assert (code, "has the backends" in said) == (1, True), said
    code, said = two.canary(prometheus="http://127.0.0.1:1")
    assert (code, "Prometheus at http://127.0.0.1:1 does not answer" in said) == (1, True), said
    code, said = two.canary("--canary-selector", 'pod="none"')
    assert (code, "has no series of cards-new" in said) == (1, True), said
    two.new.kubectl("scale", "deployment", NEW, "--replicas=0")
    wait_until("no pod is ready", lambda: two.new.ready() == 0)
    code, said = two.canary()
    assert (code, "the Service cards-new in the namespace" in said, "has no ready endpoint" in said) == (1, True, True)
    two.new.kubectl("scale", "deployment", NEW, "--replicas=1")
    two.new.settled()
    assert two.weights() == [100, 0]


@pytest.mark.skipif(not FULL, reason="LADING_E2E=full runs it")
def test_a_release_with_too_few_pods_gets_them_before_its_requests(two: Two, photo: Path) -> None:
    """Pods of a quarter of a CPU: one is 60 % busy with fewer requests than two of the old release answer."""
    quarter = ("bento.enabled=false", "resources.limits.cpu=250m")
    two.stable.upgrade(*quarter, "replicaCount=2")
    two.new.upgrade(*quarter, "replicaCount=1")
    two.stable.settled()
    with (
        under_load(two.stable.url, two.stable.grpc, photo, 40.0),
        under_load(two.new.url, two.new.grpc, photo, 2.0),
    ):
        query = f'sum(rate(lading_requests_total{{pod=~"{STABLE}-[a-z0-9]+-[a-z0-9]{{5}}"}}[24s])) > 30'
        wait_until("the rate is known", lambda: two.source.series(query) > 0, 90)
        code, said = two.canary()
        assert (code, "first set replicaCount=2" in said) == (1, True), said
        assert two.weights() == [100, 0]
        two.new.kubectl("autoscale", "deployment", NEW, "--min=1", "--max=3", "--cpu-percent=60")
        code, said = two.canary()
        assert "cards-new has 1 ready pods and needs 2" in said
        assert code == 0, said
    assert two.weights() == [0, 100]
