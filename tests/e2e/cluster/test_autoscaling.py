"""An autoscaler sees a step of the load, adds pods, and takes them away without a lost request.

Pods of a fifth of a CPU, so that a node of two carries several. The figures go to ``build/e2e``, and
``python -m tests.e2e.cluster.step docs/images/scaling.svg build/e2e/*.json`` draws them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import prometheus
from tests.e2e.cluster.kube import ROOT, Release, run, wait_until
from tests.e2e.cluster.prometheus import Prometheus
from tests.e2e.cluster.replicas import Replicas, turns, watched
from tests.e2e.cluster.report import under_load
from tests.e2e.cluster.scale import FULL
from tests.e2e.cluster.step import AFTER_S, BEFORE_S, STEP_S, Run, profile
from tests.e2e.cluster.values import SMALL, keda

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not FULL, reason="LADING_E2E=full runs it")]


def known(kind: str) -> bool:
    return kind in run("kubectl", "api-resources", "--no-headers", check=False)


@pytest.fixture(scope="module")
def capacity(release: Release, photo: Path) -> Iterator[float]:
    """Requests a second that one small pod answers when it is offered more than it can do."""
    release.upgrade(*SMALL)
    release.settled()
    with under_load(release.url, release.grpc, photo, "250x10", "--rest-new-only") as report:
        time.sleep(10)
    answered = sorted(second["answered"] for second in report.seconds[3:])
    yield float(answered[len(answered) // 2])
    release.upgrade(force=True)


def step(release: Release, photo: Path, name: str, capacity: float) -> Run:
    """Send the step, on one pod that has nothing to do, and write what was seen."""
    wait_until("one pod", lambda: release.get("deployment", release.name)["spec"]["replicas"] == 1, seconds=180)
    release.settled()
    with (
        watched(release.namespace, release.name) as replicas,
        under_load(release.url, release.grpc, photo, profile(capacity), "--rest-new-only") as report,
    ):
        time.sleep(BEFORE_S + STEP_S + AFTER_S)
    seen = Run(name, capacity, report.seconds, [Replicas(r.at - report.begun, r.wanted, r.ready) for r in replicas])
    folder = ROOT / "build" / "e2e"
    folder.mkdir(parents=True, exist_ok=True)
    seen.write(folder / f"{name.split(maxsplit=1)[0].lower()}.json")
    print(seen.summary())
    return seen


def check(seen: Run) -> None:
    assert max(row.wanted for row in seen.replicas) >= 3
    assert seen.recovered_s() < STEP_S, "goodput never recovered"
    assert seen.share("lost") == 0
    assert turns(seen.replicas) <= 1, "it oscillated"
    assert seen.replicas[-1].wanted < max(row.wanted for row in seen.replicas), "it never scaled in"
    assert seen.lost_after() == 0, "requests were lost while pods went"


def test_an_hpa_on_cpu_follows_a_step(release: Release, photo: Path, capacity: float) -> None:
    if not known("metrics.k8s.io"):
        pytest.skip("the cluster has no metrics-server")
    release.upgrade(*SMALL, "autoscaling.kind=hpa", "autoscaling.hpa.targetCPUUtilization=60")
    wait_until("the HPA knows the pods' CPU", lambda: "ScalingActive" in conditions(release), seconds=90)
    check(step(release, photo, "HPA on CPU", capacity))


def conditions(release: Release) -> set[str]:
    """Of the HPA, those that are true."""
    status = release.get("hpa", release.name)["status"]
    return {row["type"] for row in status.get("conditions", []) if row["status"] == "True"}


@pytest.fixture
def watched_by(release: Release, capacity: float) -> Iterator[Prometheus]:
    """A Prometheus, and KEDA that asks it."""
    if not (known("scaledobjects") and prometheus.found()):
        pytest.skip("KEDA is not in the cluster, or Prometheus not on this machine")
    release.upgrade(*SMALL, force=True)
    release.settled()
    with Prometheus(release) as source:
        wait_until("Prometheus has scraped", lambda: source.series("lading_ready") > 0, seconds=60)
        release.upgrade(*keda(source.url))
        wait_until("KEDA's HPA has a metric", lambda: "ScalingActive" in conditions(release), seconds=90)
        yield source
        release.upgrade(*SMALL, force=True)


def test_keda_on_queue_time_follows_a_step(
    release: Release, photo: Path, capacity: float, watched_by: Prometheus
) -> None:
    check(step(release, photo, "KEDA on queue time", capacity))


@pytest.mark.parametrize("how", ["is dead", "has lost its targets"])
def test_a_prometheus_that_cannot_say_scales_nothing_in(
    release: Release, photo: Path, capacity: float, watched_by: Prometheus, how: str
) -> None:
    """The load ends, and nobody tells the autoscaler: its pods stay until Prometheus knows again."""
    with watched(release.namespace, release.name) as replicas:
        with under_load(release.url, release.grpc, photo, f"{2 * capacity}", "--rest-new-only"):
            wait_until("three pods", lambda: replicas[-1].ready >= 3, seconds=90)
            watched_by.discovery.blind = True
            watched_by.stop()
        before = replicas[-1].wanted
        if how == "has lost its targets":
            watched_by.start()
        blind = len(replicas)
        time.sleep(80)  # twice the window after which it would have scaled in
        assert min((row.wanted for row in replicas[blind:]), default=before) >= before
        watched_by.discovery.blind = False
        if how == "is dead":
            watched_by.start()
        wait_until("one pod again", lambda: replicas[-1].wanted == 1, seconds=150)
