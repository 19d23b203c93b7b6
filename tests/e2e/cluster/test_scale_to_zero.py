"""A release sleeps without pods, and the first request, which HAProxy holds, starts one and is answered."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.cluster import prometheus
from tests.e2e.cluster.kube import ROOT, Release, run, wait_until
from tests.e2e.cluster.prometheus import Prometheus
from tests.e2e.cluster.scale import FULL
from tests.e2e.cluster.values import sleepy
from tools.stack import free_port

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not FULL, reason="LADING_E2E=full runs it")]
CONFIG = ROOT / "k8s" / "zero" / "haproxy.cfg"


@pytest.fixture
def front(release: Release, tmp_path: Path) -> Iterator[tuple[str, Prometheus]]:
    """HAProxy in front of the release's node port, and a Prometheus that scrapes it and the pods."""
    if not (prometheus.found() and shutil.which("haproxy")):
        pytest.skip("Prometheus or HAProxy is not on this machine")
    if "scaledobjects" not in run("kubectl", "api-resources", "--no-headers", check=False):
        pytest.skip("KEDA is not in the cluster")
    requests, metrics = free_port(), free_port()
    text = CONFIG.read_text()
    for written, port in ((":8000\n", requests), (":9180\n", metrics)):
        assert written in text
        text = text.replace(written, f"127.0.0.1:{port}\n")
    config = tmp_path / "haproxy.cfg"
    config.write_text(text)
    environment = os.environ | {"UPSTREAM": release.url.removeprefix("http://")}
    with (tmp_path / "haproxy.log").open("wb") as log:
        proxy = subprocess.Popen(["haproxy", "-f", str(config)], env=environment, stderr=log)
    try:
        with Prometheus(release, also=(f"127.0.0.1:{metrics}",), interval="1s") as source:
            wait_until("HAProxy is scraped", lambda: source.series('up{job="others"} == 1') > 0, 60)
            yield f"http://127.0.0.1:{requests}", source
    finally:
        proxy.terminate()
        proxy.wait(30)


def no_pod_answers(release: Release) -> bool:
    """Whether no pod is left. One that is ending still answers."""
    labels = f"app.kubernetes.io/instance={release.name},app.kubernetes.io/component=server"
    return not release.get("pods", "--selector", labels)["items"]


def test_the_first_request_wakes_a_release_without_pods_and_is_answered(
    release: Release, photo: Path, front: tuple[str, Prometheus], tmp_path: Path
) -> None:
    url, source = front
    try:
        release.upgrade(*sleepy(source.url))
        wait_until("no pod is left", lambda: no_pod_answers(release), 240)
        for attempt in range(3):
            began = time.monotonic()
            answer = httpx.post(f"{url}/classify", content=photo.read_bytes(), timeout=120)
            seconds = time.monotonic() - began
            assert answer.status_code == 200, (tmp_path / "haproxy.log").read_text()[-3000:]
            print(f"first answer after zero, attempt {attempt}: {seconds:.1f} s")
            assert release.ready() >= 1
            wait_until("no pod is left again", lambda: no_pod_answers(release), 240)
    finally:
        release.upgrade(force=True)
        release.settled()
