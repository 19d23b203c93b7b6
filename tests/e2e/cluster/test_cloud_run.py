"""The image as Cloud Run starts it: one container, its own command, and the port that `PORT` names."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from lading.protocol.proto import inference_pb2 as pb
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.e2e.cluster.kube import HOST, Release

pytestmark = pytest.mark.slow
CONTRACT = {"K_SERVICE": "cards", "K_REVISION": "cards-1", "K_CONFIGURATION": "cards", "LADING_DRAIN_S": "8"}
RESTRICTED: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@pytest.fixture
def service(release: Release) -> Iterator[Release]:
    """A name for the pod and its Service, in the release's namespace."""
    yield Release("cloud-run", release.namespace, release.values)
    release.kubectl("delete", "pod,service", "cloud-run", "--ignore-not-found", "--grace-period=10")


def run_it(service: Release, port: int, environment: dict[str, str], command: list[str], probe: dict[str, Any]) -> None:
    """Start the container and wait until its startup probe succeeds."""
    image = f"{service.values['image']['repository']}:{service.values['image']['tag']}"
    env = CONTRACT | {"PORT": str(port)} | environment
    container: dict[str, Any] = {
        "name": "server",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": name, "value": value} for name, value in env.items()],
        "ports": [{"containerPort": port}],
        "startupProbe": {**probe, "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 60},
        "resources": {"requests": {"cpu": "250m"}, "limits": {"cpu": "1", "memory": "768Mi"}},
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    labels = {"app": "cloud-run"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "cloud-run", "labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": [{"name": "tmp", "emptyDir": {}}],
            "containers": [container | ({"command": command} if command else {})],
        },
    }
    ports = [{"name": "port", "port": port}]
    reached = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "cloud-run"},
        "spec": {"type": "NodePort", "selector": labels, "ports": ports},
    }
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": [pod, reached]})
    service.kubectl("create", "--filename", "-", stdin=text)
    service.kubectl("wait", "--for=condition=Ready", "pod/cloud-run", "--timeout=120s")


def test_all_of_http_is_on_the_port_that_port_names(service: Release, photo: Path) -> None:
    began = time.monotonic()
    run_it(service, 8090, {"LADING_GRPC_PORT": "off"}, [], {"httpGet": {"path": "/readyz", "port": 8090}})
    url = f"http://{HOST}:{service.node_port('port')}"
    # A pod is Ready some moments before the node's port leads to it.
    with httpx.Client(base_url=url, timeout=30, transport=httpx.HTTPTransport(retries=6)) as client:
        assert client.post("/classify", content=photo.read_bytes()).json()["rank"] == "ace"
        assert client.get("/v2/models/cards/ready").status_code == 200
        routes = {route["route"] for route in client.get("/schema.json").json()["routes"]}
    assert "/classify" in routes, "what BentoML's clients read"
    print(f"with PORT=8090 all of HTTP was answered after {time.monotonic() - began:.1f} s")
    ended = time.monotonic()
    service.kubectl("delete", "pod", "cloud-run", "--grace-period=10")
    assert time.monotonic() - ended < 10, "Cloud Run kills after 10 seconds"


def test_grpc_is_a_service_of_its_own_over_h2c(service: Release) -> None:
    settings = {"LADING_HTTP_PORT": "8080", "LADING_GRPC_PORT": "9000"}
    run_it(service, 9000, settings, ["python", "-m", "lading", "serve"], {"grpc": {"port": 9000}})
    with grpc.insecure_channel(f"{HOST}:{service.node_port('port')}") as channel:
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        assert stub.ServerReady(pb.ServerReadyRequest(), wait_for_ready=True, timeout=60).ready
