"""kubectl and helm on the cluster that KUBECONFIG names, as a person would type them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
CHART = ROOT / "helm" / "lading"
HOST = os.environ.get("LADING_E2E_HOST", "127.0.0.1")
"""Where node ports answer: this machine, or a node's address."""


def run(*words: str, check: bool = True, stdin: str | None = None, timeout: float = 600) -> str:
    """Standard output of a command; an assertion with its standard error where it fails."""
    ended = subprocess.run(words, capture_output=True, text=True, check=False, input=stdin, timeout=timeout, cwd=ROOT)
    assert ended.returncode == 0 or not check, f"{' '.join(words)}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout if check else ended.stdout + ended.stderr


def wait_until(what: str, condition: Callable[[], object], seconds: float = 120) -> None:
    """Poll twice a second, and fail with what was waited for."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"after {seconds:.0f} s still not: {what}"
        time.sleep(0.5)


@dataclass
class Release:
    """One release of the chart in a namespace of its own."""

    name: str
    namespace: str
    values: dict[str, Any] = field(default_factory=dict)
    """What every revision has, beside what an upgrade adds."""

    def kubectl(self, *words: str, check: bool = True, stdin: str | None = None) -> str:
        """kubectl in the release's namespace."""
        return run("kubectl", "--namespace", self.namespace, *words, check=check, stdin=stdin)

    def get(self, *words: str) -> dict[str, Any]:
        """An object, or a list of them."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *words, "--output", "json"))
        return found

    def upgrade(
        self, *sets: str, check: bool = True, rollback: bool = False, force: bool = False, timeout: int = 180
    ) -> str:
        """`helm upgrade --install --wait` with the release's values and these on top.

        ``force`` takes the number of pods back from an autoscaler that is switched off.
        """
        options = [word for value in sets for word in ("--set", value)]
        return run(
            *("helm", "upgrade", "--install", self.name, str(CHART), "--namespace", self.namespace, "--reset-values"),
            *("--values", "-", *options, "--wait", "--timeout", f"{timeout}s"),
            *(["--rollback-on-failure"] if rollback else []),
            *(["--force-conflicts"] if force else []),
            check=check,
            stdin=json.dumps(self.values),
            timeout=3 * timeout + 60,
        )

    @property
    def deployment(self) -> str:
        """The Deployment that makes the pods: the chart's, or KServe's."""
        return f"{self.name}-predictor" if self.values.get("mode") == "kserve" else self.name

    @property
    def node_ports(self) -> str:
        """The Service with node ports: the chart's, or one that a test brings, for KServe's has none."""
        return f"{self.name}-node-ports" if self.values.get("mode") == "kserve" else self.name

    def node_port(self, name: str) -> int:
        """The node port of the Service's port."""
        ports = self.get("service", self.node_ports)["spec"]["ports"]
        return next(int(port["nodePort"]) for port in ports if port["name"] == name)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.node_port('http')}"

    @property
    def grpc(self) -> str:
        return f"{HOST}:{self.node_port('grpc')}"

    @property
    def bento(self) -> str:
        return f"http://{HOST}:{self.node_port('bento')}"

    def pods(self) -> list[dict[str, Any]]:
        """The server's pods that are not ending."""
        labels = f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component=server"
        items: list[dict[str, Any]] = self.get("pods", "--selector", labels)["items"]
        return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]

    def ready(self) -> int:
        """How many pods are ready."""
        return sum(
            any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
            for pod in self.pods()
        )

    def settled(self) -> None:
        """Wait until every pod of the Deployment is ready and none is ending."""
        self.kubectl("rollout", "status", f"deployment/{self.deployment}", "--timeout=180s")
        labels = f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component=server"
        wanted = int(self.get("deployment", self.deployment)["spec"]["replicas"])
        wait_until(
            f"{wanted} pods and none ending",
            lambda: len(self.get("pods", "--selector", labels)["items"]) == wanted == self.ready(),
        )

    def last_words(self) -> str:
        """What the pods' containers said when they ended, or when they found that they will never be ready."""
        words = []
        for pod in self.pods():
            status = pod["status"]
            for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
                for state in (container.get("state", {}), container.get("lastState", {})):
                    ended = state.get("terminated", {})
                    words.append(f"{ended.get('reason', '')} {ended.get('message', '')}")
        return "\n".join(words)
