"""A Prometheus on this machine that finds the pods of a namespace as one in the cluster would.

The pods' addresses have to be reachable from here, and this machine from KEDA: ``LADING_E2E_PROMETHEUS`` is the host by
which KEDA finds it, ``127.0.0.1`` where KEDA runs on this machine too.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import httpx

from tests.e2e.cluster.kube import wait_until

HOST = os.environ.get("LADING_E2E_PROMETHEUS", "127.0.0.1")
CONFIG = """
global: {{scrape_interval: 5s}}
scrape_configs:
  - job_name: pods
    kubernetes_sd_configs: [{{role: pod, kubeconfig_file: "{kubeconfig}", namespaces: {{names: ["{namespace}"]}}}}]
    relabel_configs:
      - {{source_labels: [__meta_kubernetes_pod_container_port_name], regex: "{port}", action: keep}}
      - {{source_labels: [__meta_kubernetes_namespace], target_label: namespace}}
      - {{source_labels: [__meta_kubernetes_pod_name], target_label: pod}}
"""


def found() -> bool:
    """Whether there is a Prometheus to start."""
    return shutil.which("prometheus") is not None


class Prometheus:
    """Starts and stops with ``with``, and in between with ``start()`` and ``stop()``."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.folder = Path(tempfile.mkdtemp(prefix="prometheus-"))
        with socket.socket() as free:
            free.bind((HOST, 0))
            self.url = f"http://{HOST}:{free.getsockname()[1]}"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Prometheus:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, port: str = "http") -> None:
        """Scrape the pods' port of this name; a name that no port has makes a Prometheus that knows nothing."""
        config = self.folder / "prometheus.yml"
        kubeconfig = os.environ["KUBECONFIG"]
        config.write_text(CONFIG.format(kubeconfig=kubeconfig, namespace=self.namespace, port=port))
        # Its own log is of no interest unless it does not start, and then it says why at once.
        self.process = subprocess.Popen(
            [
                *("prometheus", f"--config.file={config}", f"--storage.tsdb.path={self.folder / port}"),
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
