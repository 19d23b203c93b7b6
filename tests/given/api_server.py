"""A small API server of Kubernetes: keeps the objects of one namespace, and applies JSON patches (RFC 6902)."""

from __future__ import annotations

import contextlib
import copy
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

NAMESPACE = "serve"
GROUPS = {
    "httproutes": "gateway.networking.k8s.io",
    "grpcroutes": "gateway.networking.k8s.io",
    "cronjobs": "batch",
    "jobs": "batch",
    "endpointslices": "discovery.k8s.io",
    "horizontalpodautoscalers": "autoscaling",
    "deployments": "apps",
}


def route(stable: int = 100, canary: int = 0, kind: str = "HTTPRoute") -> dict[str, Any]:
    backends = [
        {"name": "cards-a", "port": 8080, "weight": stable},
        {"name": "cards-b", "port": 8080, "weight": canary},
    ]
    rules = [{"backendRefs": [{"name": "page", "port": 80}]}, {"backendRefs": backends}]
    return {"kind": kind, "metadata": {"name": "cards", "resourceVersion": "1"}, "spec": {"rules": rules}}


def endpoints(service: str, ready: int, starting: int = 0) -> dict[str, Any]:
    """The EndpointSlice of a Service."""
    pods = [
        {"addresses": [f"10.0.0.{number}"], "conditions": {"ready": number < ready}}
        for number in range(ready + starting)
    ]
    return {"metadata": {"name": service, "labels": {"kubernetes.io/service-name": service}}, "endpoints": pods}


def autoscaler(deployment: str, minimum: int, maximum: int) -> dict[str, Any]:
    """A HorizontalPodAutoscaler that wants its minimum."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment}
    return {
        "metadata": {"name": deployment},
        "spec": {"scaleTargetRef": target, "minReplicas": minimum, "maxReplicas": maximum},
        "status": {"desiredReplicas": minimum},
    }


@dataclass
class ApiServer:
    """Its address, its objects by plural and name, and every patched version."""

    url: str
    objects: dict[str, dict[str, Any]]
    token: str | None = None
    """Without this bearer token the answer is 401. ``None``: anyone may ask."""
    history: list[dict[str, Any]] = field(default_factory=list)
    conflicts: int = 0
    """Number of patches before which someone else changes the object."""
    unavailable: int = 0
    """Number of requests to answer with 503."""
    refused: set[str] = field(default_factory=set)
    """Objects that may not be patched."""
    scaled: list[tuple[str, int]] = field(default_factory=list)
    """Deployments that were scaled, and the numbers of pods."""
    room: int = 100
    """Pods that a Deployment can have."""

    def weights(self) -> list[int]:
        """Weights of the new release, version by version."""
        return [one["spec"]["rules"][1]["backendRefs"][1]["weight"] for one in self.history]

    def of(self, plural: str) -> dict[str, dict[str, Any]]:
        """The objects of one kind, by name."""
        return {key.partition("/")[2]: one for key, one in self.objects.items() if key.startswith(f"{plural}/")}

    def get(self, path: str, selector: str) -> tuple[int, Any]:
        if "/" in path:
            found = self.objects.get(path)
            return (200, found) if found else (404, {"message": "not found"})
        label, _, value = selector.partition("=")
        items = list(self.of(path).values())
        if selector:
            items = [one for one in items if one["metadata"]["labels"].get(label) == value]
        return 200, {"items": items}

    def post(self, path: str, content: dict[str, Any]) -> tuple[int, Any]:
        name = f"{path}/{content['metadata']['name']}"
        if name in self.objects:
            return 409, {"message": "it exists", "reason": "AlreadyExists"}
        content["metadata"]["creationTimestamp"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.objects[name] = content
        return 201, content

    def patch(self, path: str, patch: Any) -> tuple[int, Any]:
        if path.endswith("/scale"):
            return self.scale(path.split("/")[1], patch["spec"]["replicas"])
        if path in self.refused:
            return 403, {"message": "forbidden"}
        changed = copy.deepcopy(self.objects[path])
        if self.conflicts:
            self.conflicts -= 1
            changed["metadata"]["resourceVersion"] += "1"
            self.objects[path] = copy.deepcopy(changed)
        if not all(_apply(changed, one) for one in patch):
            return 422, {"message": "the server rejected our request: test failed"}
        changed["metadata"]["resourceVersion"] += "0"
        self.objects[path] = changed
        self.history.append(changed)
        return 200, changed

    def scale(self, name: str, pods: int) -> tuple[int, Any]:
        """The pods of a Deployment are ready at once, as far as there is room."""
        self.scaled.append((name, pods))
        ready = min(pods, self.room)
        self.objects[f"endpointslices/{name}"] = endpoints(name, ready, pods - ready)
        return 200, {"kind": "Scale", "spec": {"replicas": pods}}


@contextlib.contextmanager
def api_server(
    objects: dict[str, dict[str, Any]], *, token: str | None = None, certificate: tuple[Path, Path] | None = None
) -> Iterator[ApiServer]:
    """Serve objects until the block ends.

    Args:
        objects: by plural and name, such as ``httproutes/cards``.
        token: bearer token of the only account.
        certificate: files of a certificate and its key; with them it speaks TLS.
    """
    api = ApiServer("", dict(objects), token)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def do_PATCH(self) -> None:
            self.answer()

        def answer(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["content-length"] or 0)) or "null")
            status, answer = self.answer_to(content)
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def answer_to(self, content: Any) -> tuple[int, Any]:
            if api.unavailable:
                api.unavailable -= 1
                return 503, {"message": "starting"}
            if api.token and self.headers["authorization"] not in (f"Bearer {api.token}", f"bearer {api.token}"):
                return 401, {"message": "Unauthorized"}
            where = urlsplit(self.path)
            start, _, path = where.path.partition(f"/namespaces/{NAMESPACE}/")
            start = start.rpartition("/")[0]
            if start != f"/apis/{GROUPS.get(path.split('/')[0])}":
                return 404, {"message": "the server could not find the requested resource"}
            if self.command == "GET":
                return api.get(path, parse_qs(where.query).get("labelSelector", [""])[0])
            if self.command == "POST":
                return api.post(path, content)
            kind = "merge-patch" if path.endswith("/scale") else "json-patch"
            assert self.headers["content-type"] == f"application/{kind}+json"
            return api.patch(path, content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    api.url = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}"
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _apply(document: Any, operation: dict[str, Any]) -> bool:
    """Do one operation, ``add`` or ``test``; false where a test fails."""
    *parents, last = operation["path"].split("/")[1:]
    for key in parents:
        document = document[int(key) if isinstance(document, list) else key]
    place = int(last) if isinstance(document, list) else last
    if operation["op"] == "test":
        return bool(document[place] == operation["value"])
    assert operation["op"] == "add"
    document[place] = operation["value"]
    return True
