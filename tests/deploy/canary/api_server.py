"""Stands in for a cluster's API server: keeps routes, and applies JSON patches as RFC 6902 says."""

from __future__ import annotations

import contextlib
import copy
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PREFIX = "/apis/gateway.networking.k8s.io/v1/namespaces/serve/"


def route(stable: int = 100, canary: int = 0, kind: str = "HTTPRoute") -> dict[str, Any]:
    backends = [
        {"name": "cards-a", "port": 8080, "weight": stable},
        {"name": "cards-b", "port": 8080, "weight": canary},
    ]
    rules = [{"backendRefs": [{"name": "page", "port": 80}]}, {"backendRefs": backends}]
    return {"kind": kind, "metadata": {"name": "cards", "resourceVersion": "1"}, "spec": {"rules": rules}}


@dataclass
class ApiServer:
    """Where it listens, its routes by path, and every version that there was."""

    url: str
    routes: dict[str, dict[str, Any]]
    history: list[dict[str, Any]] = field(default_factory=list)
    conflicts: int = 0
    """Patches to refuse, as after a change by somebody else."""
    refused: set[str] = field(default_factory=set)
    """Paths that may not be patched."""

    def weights(self) -> list[int]:
        """What the new release had, version by version."""
        return [one["spec"]["rules"][1]["backendRefs"][1]["weight"] for one in self.history]


@contextlib.contextmanager
def api_server(**routes: dict[str, Any]) -> Iterator[ApiServer]:
    """Serve routes until the block ends; a keyword is ``httproutes_cards``."""
    known = {name.replace("_", "/"): content for name, content in routes.items()}
    api = ApiServer("", known)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...

        def answer(self, status: int, content: object) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            found = api.routes.get(self.path.removeprefix(PREFIX))
            self.answer(200, found) if found else self.answer(404, {"message": "not found"})

        def do_PATCH(self) -> None:
            patch = json.loads(self.rfile.read(int(self.headers["content-length"])))
            assert self.headers["content-type"] == "application/json-patch+json"
            path = self.path.removeprefix(PREFIX)
            if path in api.refused:
                self.answer(403, {"message": "forbidden"})
                return
            changed = copy.deepcopy(api.routes[path])
            if api.conflicts:
                api.conflicts -= 1
                changed["metadata"]["resourceVersion"] += "1"
                api.routes[path] = copy.deepcopy(changed)
            if not all(apply(changed, one) for one in patch):
                self.answer(422, {"message": "the server rejected our request: test failed"})
                return
            changed["metadata"]["resourceVersion"] += "0"
            api.routes[path] = changed
            api.history.append(changed)
            self.answer(200, changed)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def apply(document: Any, operation: dict[str, Any]) -> bool:
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
