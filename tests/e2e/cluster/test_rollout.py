"""Nothing is lost while pods come and go under constant load; and without the sleep before the end, something is."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.e2e.cluster.kube import Release, run, wait_until
from tests.e2e.cluster.report import Report, under_load
from tests.e2e.cluster.scale import FULL, RATE

pytestmark = pytest.mark.slow
full = pytest.mark.skipif(not FULL, reason="LADING_E2E=full runs it")
Load = Callable[[], AbstractContextManager[Report]]


@pytest.fixture
def load(release: Release, photo: Path) -> Iterator[Load]:
    """Starts load on a settled release, and puts the release back afterwards."""
    release.settled()
    url, grpc = release.url, release.grpc
    yield lambda: under_load(url, grpc, photo, RATE)
    release.upgrade(force=True)


def test_a_changed_setting_rolls_the_pods_and_loses_nothing(release: Release, load: Load) -> None:
    before = {pod["metadata"]["name"] for pod in release.pods()}
    with load() as report:
        release.upgrade("settings.max_queue=255")
        release.settled()
    assert before.isdisjoint(pod["metadata"]["name"] for pod in release.pods())
    assert report.failed == 0, report


def test_without_the_sleep_before_the_end_requests_are_lost_and_seen_to_be(release: Release, load: Load) -> None:
    release.upgrade("shutdown.preStop=none")
    release.settled()
    failed = 0
    for _ in range(8):  # chance decides whether a request meets a pod that is ending
        with load() as report:
            release.kubectl("rollout", "restart", f"deployment/{release.name}")
            release.settled()
        failed += report.failed
        if failed:
            break
    assert failed > 0


@full
def test_fifty_thousand_requests_through_rollouts_a_rollback_a_scale_in_and_a_deleted_pod(
    release: Release, load: Load
) -> None:
    with load() as report:
        begun = time.monotonic()
        release.upgrade("settings.max_queue=255", "replicaCount=3")
        release.settled()
        release.kubectl("rollout", "restart", f"deployment/{release.name}")
        release.settled()
        run("helm", "rollback", release.name, "--namespace", release.namespace, "--wait", "--timeout", "180s")
        release.settled()  # and one pod fewer
        release.kubectl("delete", "pod", release.pods()[0]["metadata"]["name"], "--wait=true")
        release.settled()
        while time.monotonic() - begun < 50_500 / RATE:
            release.kubectl("rollout", "restart", f"deployment/{release.name}")
            release.settled()
    assert report.sent >= 50_000
    assert report.failed == 0, report


@full
def test_a_drained_node_loses_nothing_and_keeps_a_pod(release: Release, load: Load) -> None:
    """On one node the second pod has nowhere to go, so the budget holds it where it is."""
    node = release.pods()[0]["spec"]["nodeName"]
    selector = f"app.kubernetes.io/instance={release.name}"
    with load() as report:
        words = ("kubectl", "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=25s")
        said = run(*words, f"--pod-selector={selector}", check=False)
        run("kubectl", "uncordon", node)
        release.settled()
    assert "violate the pod's disruption budget" in said or "evicted" in said
    assert report.failed == 0, report


@full
def test_an_autoscaler_switched_on_for_a_running_release_never_leaves_it_with_one_pod(
    release: Release, load: Load
) -> None:
    wanted: list[int] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.2):
            wanted.append(int(release.get("deployment", release.name)["spec"]["replicas"]))

    release.upgrade("replicaCount=3")
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with load() as report:
            release.upgrade("autoscaling.kind=hpa", "autoscaling.minReplicas=2")
            time.sleep(20)  # as long as the controllers need to act on what they would see
    finally:
        stop.set()
        watcher.join()
    assert min(wanted) >= 2
    assert report.failed == 0, report


@full
def test_a_killed_worker_is_replaced_and_a_client_that_asks_again_loses_nothing(
    release: Release, load: Load, photo: Path
) -> None:
    """A process that is killed cannot answer what it holds: clients retry, as those of a mesh or a gateway do."""
    pod = release.pods()[0]["metadata"]["name"]
    before = workers(release, pod)
    with under_load(release.url, release.grpc, photo, RATE, "--retries", "6") as report:
        release.kubectl("exec", pod, "--", "python", "-c", KILL_WORKERS, check=False)
        wait_until("another worker", lambda: workers(release, pod) - before)
        release.settled()
    assert report.failed == 0, report


def workers(release: Release, pod: str) -> set[str]:
    """The server's processes below the first, which starts them anew, each with when it began; none while it cannot be
    asked."""
    said = release.kubectl("exec", pod, "--", "python", "-c", SHOW_WORKERS, check=False)
    return set(re.findall(r"worker \d+ \d+", said))


SHOW_WORKERS = """
import os, pathlib
for name in os.listdir('/proc'):
    if name.isdigit() and int(name) not in (1, os.getpid()):
        print('worker', name, pathlib.Path('/proc', name, 'stat').read_text().rpartition(')')[2].split()[19])
"""
KILL_WORKERS = """
import os, signal
for name in os.listdir('/proc'):
    if name.isdigit() and int(name) not in (1, os.getpid()):
        os.kill(int(name), signal.SIGKILL)
"""
