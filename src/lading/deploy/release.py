"""One release in a cluster, as kubectl and helm see it."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lading.deploy.kubernetes import Cluster
from lading.deploy.step import ask, written
from lading.deploy.why.diagnosis import why
from lading.errors import DeployError, LadingError


@dataclass(frozen=True)
class Release:
    """A release of the chart, which may not be there yet."""

    context: str
    """The kubeconfig's."""
    namespace: str
    name: str

    @property
    def helm(self) -> tuple[str, ...]:
        """Helm's options for this cluster and namespace."""
        return "--kube-context", self.context, "--namespace", self.namespace

    def kubectl(self, *words: str) -> tuple[str, ...]:
        """A command of kubectl in this cluster and namespace."""
        return "kubectl", "--context", self.context, "--namespace", self.namespace, *words

    def exists(self) -> bool:
        """Whether Helm knows the release, in whatever state.

        Raises:
            DeployError: Helm could not look.
        """
        command = ("helm", "status", self.name, *self.helm)
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode and "release: not found" not in ended.stderr:
            said = (ended.stderr.strip() or "no answer").splitlines()[-1]
            raise DeployError(f"`{written(command)}` failed: {said[:300]}")
        return ended.returncode == 0

    def is_current(self, upgrade: tuple[str, ...]) -> bool:
        """Whether an upgrade would render what is installed, and the cluster's objects are still like that.

        Args:
            upgrade: the command of Helm, without ``--wait``.
        """
        status = ask("helm", "status", self.name, *self.helm, "--output", "json")
        if status is None or json.loads(status)["info"]["status"] != "deployed":
            return False
        rendered = ask(*upgrade, "--dry-run=server", "--output", "json")
        installed = ask("helm", "get", "manifest", self.name, *self.helm)
        if rendered is None or installed is None or json.loads(rendered)["manifest"].strip() != installed.strip():
            return False
        return ask(*self.kubectl("diff", "-f", "-"), stdin=installed) is not None

    def nodes_with(self, image: str) -> list[bool]:
        """For each node that takes ordinary pods, whether it has an image. Empty if nodes may not be listed."""
        answer = ask("kubectl", "--context", self.context, "get", "nodes", "--output", "json")
        nodes = [node for node in _items(answer) if not _is_closed(node)]
        return [any(image in (one.get("names") or ()) for one in node["status"].get("images") or ()) for node in nodes]

    def runs(self, image: str) -> bool:
        """Whether the release has pods, and all of them run an image. A node lists a new image only after a while."""
        labels = f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component=server"
        pods = _items(ask(*self.kubectl("get", "pods", "--selector", labels, "--output", "json")))
        return bool(pods) and all(
            pod["status"].get("phase") == "Running"
            and image in [container["image"] for container in pod["spec"]["containers"]]
            for pod in pods
        )

    @contextmanager
    def forwarded(self) -> Iterator[tuple[str, str | None]]:
        """Free ports of this machine that lead to the Service: ``host:port`` of HTTP and of gRPC.

        Raises:
            DeployError: there is no such Service, or no pod behind it.
        """
        found = json.loads(ask(*self.kubectl("get", "service", self.name, "--output", "json")) or "{}")
        ports = {port["name"]: port["port"] for port in found.get("spec", {}).get("ports", [])}
        wanted = [name for name in ("http", "grpc") if name in ports]
        if "http" not in ports:
            raise DeployError(
                f"{self.namespace} has no Service {self.name} with a port http: remove it with `lading down`"
            )
        command = self.kubectl("port-forward", f"service/{self.name}", *(f":{ports[name]}" for name in wanted))
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                assert process.stdout is not None
                local: list[str] = []
                line = ""
                for line in process.stdout:
                    local += re.findall(r"^Forwarding from (127\.0\.0\.1:\d+)", line)
                    if len(local) == len(wanted):
                        break
                else:
                    raise DeployError(f"`{written(command)}` failed: {line.strip()[:300]}")
                yield local[0], local[1] if "grpc" in wanted else None
            finally:
                process.terminate()

    def cause(self) -> str:
        """What keeps the release from serving and what to do, as ``lading why`` finds it; empty if it finds nothing."""
        config = ask("kubectl", "config", "view", "--minify", "--flatten", "--raw", "--context", self.context)
        with tempfile.TemporaryDirectory(prefix="lading-up-") as folder:
            file = Path(folder, "kubeconfig")
            file.write_text(config or "")
            try:
                found = why(Cluster.connect(kubeconfig=str(file)), self.namespace, self.name).findings
            except LadingError:
                return ""
        return "; ".join((found[0].sentence, found[0].do)) if found else ""


def require_cluster(context: str) -> None:
    """Fail before any step that would be in vain.

    Raises:
        DeployError: helm or kubectl is missing, or the cluster does not answer.
    """
    if ask("kubectl", "version", "--client") is None:
        raise DeployError("kubectl is missing: https://kubernetes.io/docs/tasks/tools says how to install it")
    if ask("helm", "version") is None:
        raise DeployError("helm is missing: https://helm.sh/docs/intro/install says how to install it")
    command = ("kubectl", "--context", context, "get", "--raw", "/readyz", "--request-timeout=10s")
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        said = (ended.stderr.strip() or "no answer").splitlines()[-1]
        raise DeployError(f"the cluster of the context {context} does not answer: {said[:300]}")


def current_context() -> str:
    """The context that kubectl uses.

    Raises:
        DeployError: there is none.
    """
    answer = ask("kubectl", "config", "current-context")
    if not answer:
        raise DeployError("kubectl has no current context: name one with --context, or set KUBECONFIG")
    return answer.strip()


def _items(answer: str | None) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(answer)["items"] if answer else []
    return items


def _is_closed(node: dict[str, Any]) -> bool:
    """Whether ordinary pods are not scheduled to a node."""
    taints = node["spec"].get("taints") or ()
    return bool(node["spec"].get("unschedulable")) or any(taint["effect"] != "PreferNoSchedule" for taint in taints)
