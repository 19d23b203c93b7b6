"""A small W&B server: the answers that its client needs to fetch one version of a model and to change it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ENTITY, PROJECT, COLLECTION = "team", "lading", "tiny-image"
WHEN = "2026-01-01T00:00:00"


@dataclass
class WandbModel:
    """Version 3 of ``team/lading/tiny-image``, and what clients did to it."""

    files: Mapping[str, bytes]
    aliases: list[str] = field(default_factory=lambda: ["production", "latest"])
    metadata: dict[str, Any] = field(default_factory=lambda: {"valid/score": 0.5})
    url: str = ""
    denied: bool = False
    """Refuse every change, as for a key that may only read."""
    downloaded: list[str] = field(default_factory=list)

    def answer(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        """The data of a GraphQL operation."""
        if operation in ("Viewer", "GetDefaultEntity"):
            return {
                "viewer": {"id": "user-1", "entity": ENTITY, "username": "user", "flags": "{}", "teams": {"edges": []}}
            }
        if operation == "ArtifactMembershipByName":
            collection, _, alias = variables["name"].partition(":")
            known = collection == COLLECTION and alias in (*self.aliases, "v3")
            found = self._membership() if known and variables["project"] == PROJECT else None
            return {"project": {"artifactCollectionMembership": found}}
        if operation == "FetchArtifactManifest":
            return {"artifact": {"currentManifest": {"file": {"directUrl": f"{self.url}/manifest"}}}}
        if operation == "UpdateArtifact":
            self.metadata = json.loads(variables["input"]["metadata"])
            return {"result": {"artifact": self._artifact()}}
        if operation == "AddAliases":
            self.aliases += [one["alias"] for one in variables["input"]["aliases"]]
        if operation == "DeleteAliases":
            gone = {one["alias"] for one in variables["input"]["aliases"]}
            self.aliases = [alias for alias in self.aliases if alias not in gone]
        return {"result": {"success": True}}

    def manifest(self) -> dict[str, Any]:
        contents = {
            name: {"digest": base64.b64encode(hashlib.md5(content).digest()).decode(), "size": len(content)}
            for name, content in self.files.items()
        }
        policy = {"storageLayout": "V2"}
        return {
            "version": 1,
            "storagePolicy": "wandb-storage-policy-v1",
            "storagePolicyConfig": policy,
            "contents": contents,
        }

    def file(self, path: str) -> bytes | None:
        """The file whose MD5 digest ends the path."""
        for name, content in self.files.items():
            if hashlib.md5(content).hexdigest() in path:
                self.downloaded.append(name)
                return content
        return None

    def _membership(self) -> dict[str, Any]:
        return {
            "__typename": "ArtifactCollectionMembership",
            "id": "membership-1",
            "versionIndex": 3,
            "createdAt": WHEN,
            "aliases": self._aliases(),
            "artifactCollection": self._collection("ArtifactSequence"),
            "artifact": self._artifact(),
        }

    def _artifact(self) -> dict[str, Any]:
        return {
            "__typename": "Artifact",
            "id": "artifact-1",
            "artifactSequence": self._collection("ArtifactSequence"),
            "versionIndex": 3,
            "artifactType": {"name": "model"},
            "description": None,
            "metadata": json.dumps(self.metadata),
            "ttlDurationSeconds": -2,
            "ttlIsInherited": True,
            "tags": [],
            "historyStep": None,
            "state": "COMMITTED",
            "size": sum(map(len, self.files.values())),
            "digest": "0" * 32,
            "digestAlgorithm": "MANIFEST_MD5",
            "commitHash": None,
            "fileCount": len(self.files),
            "createdAt": WHEN,
            "updatedAt": WHEN,
            "aliases": [one | {"artifactCollection": self._collection("ArtifactSequence")} for one in self._aliases()],
        }

    def _aliases(self) -> list[dict[str, Any]]:
        return [{"__typename": "ArtifactAlias", "id": alias, "alias": alias} for alias in self.aliases]

    def _collection(self, kind: str) -> dict[str, Any]:
        project = {"id": "p", "internalId": "1", "name": PROJECT, "entity": {"name": ENTITY}}
        return {"__typename": kind, "name": COLLECTION, "project": project}


@contextlib.contextmanager
def wandb_server(model: WandbModel) -> Iterator[WandbModel]:
    """Serve the version until the block ends; its ``url`` is the base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["content-length"])))
            named = re.search(r"(?:query|mutation)\s+(\w+)", content["query"])
            operation = named.group(1) if named else ""
            if model.denied and operation in ("UpdateArtifact", "AddAliases", "DeleteAliases"):
                self._send(403, b'{"errors": [{"message": "permission denied"}]}')
                return
            data = model.answer(operation, content.get("variables") or {})
            self._send(200, json.dumps({"data": data}).encode())

        def do_GET(self) -> None:
            found = json.dumps(model.manifest()).encode() if self.path == "/manifest" else model.file(self.path)
            self._send(200 if found is not None else 404, found or b"")

        def _send(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    model.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield model
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
