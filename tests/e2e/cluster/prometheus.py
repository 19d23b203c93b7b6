"""A Prometheus on this machine that scrapes a release's pods, with the labels that one in the cluster gives them.

Debian's is built without the discovery of Kubernetes, so the pods are written into a file that it watches. Their
addresses have to be reachable from here, and this machine from KEDA: ``LADING_E2E_PROMETHEUS`` is the host by which
KEDA finds it, ``127.0.0.1`` where KEDA runs on this machine too.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import httpx

from tests.e2e.cluster.kube import Release, wait_until

HOST = os.environ.get("LADING_E2E_PROMETHEUS", "127.0.0.1")
CONFIG = """
global: {{scrape_interval: {interval}}}
scrape_configs:
  - {{job_name: pods, file_sd_configs: [{{files: ["{targets}"]}}]}}
  - {{job_name: others, static_configs: [{{targets: [{others}]}}]}}
"""


def found() -> bool:
    """Whether there is a Prometheus to start."""
    return shutil.which("prometheus") is not None


class Discovery:
    """Keeps a file with the addresses of releases' pods for Prometheus (``file_sd_configs``), while it is entered."""

    def __init__(self, file: Path, *releases: Release) -> None:
        self.file, self.releases = file, releases
        self.blind = False
        """Set it to take all targets away."""
        self._ending = threading.Event()
        self._discovering = threading.Thread(target=self._discover)

    def __enter__(self) -> Discovery:
        self.write()
        self._discovering.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._discovering.join()

    def _discover(self) -> None:
        while not self._ending.wait(2):
            self.write()

    def write(self) -> None:
        """Each pod that has an address, in one step, for Prometheus looks at any time."""
        rows = [
            {
                "targets": [f"{pod['status']['podIP']}:8080"],
                "labels": {"namespace": release.namespace, "pod": pod["metadata"]["name"]},
            }
            for release in self.releases
            for pod in ([] if self.blind else release.pods())
            if pod["status"].get("podIP")
        ]
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(rows))
        new.replace(self.file)


class Prometheus:
    """Starts and stops with ``with``, and in between with ``start()`` and ``stop()``."""

    def __init__(self, *releases: Release, also: tuple[str, ...] = (), interval: str = "5s") -> None:
        self.releases = releases
        self.also, self.interval = also, interval
        self.folder = Path(tempfile.mkdtemp(prefix="prometheus-"))
        self.targets = self.folder / "targets.json"
        with socket.socket() as free:
            free.bind((HOST, 0))
            self.url = f"http://{HOST}:{free.getsockname()[1]}"
        self.process: subprocess.Popen[bytes] | None = None
        self.discovery = Discovery(self.targets, *releases)

    def __enter__(self) -> Prometheus:
        self.discovery.write()
        self.start()
        self.discovery.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.discovery.__exit__()
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Begin to scrape, with nothing known yet."""
        config = self.folder / "prometheus.yml"
        others = ", ".join(f'"{address}"' for address in self.also)
        config.write_text(CONFIG.format(interval=self.interval, targets=self.targets, others=others))
        data = self.folder / f"data-{time.monotonic_ns()}"
        # Its own log is of no interest unless it does not start, and then it says why at once.
        self.process = subprocess.Popen(
            [
                *("prometheus", f"--config.file={config}", f"--storage.tsdb.path={data}"),
                *(f"--web.listen-address={self.url.removeprefix('http://')}", "--log.level=error"),
            ]
        )
        wait_until("Prometheus is ready", self._ready, seconds=30)

    def _ready(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/-/ready").status_code == 200
        return False

    def stop(self) -> None:
        """End it, if it runs."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=30)
            self.process = None

    def series(self, query: str) -> int:
        """How many series a query finds."""
        return len(httpx.get(f"{self.url}/api/v1/query", params={"query": query}).json()["data"]["result"])
