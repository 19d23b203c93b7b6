"""A small S3 endpoint on this machine: keeps the objects that are put, and can fail."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest


@dataclass
class S3Bucket:
    """The objects of the bucket ``lading-log`` by key, and the answers that come before any success."""

    objects: dict[str, bytes] = field(default_factory=dict)
    failures: list[int] = field(default_factory=list)
    """HTTP status codes for the next requests, in this order."""


@contextmanager
def s3_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Bucket]:
    """Listen until the block ends, and name the endpoint in the variables that S3 clients read."""
    bucket = S3Bucket()

    class Endpoint(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            if bucket.failures:
                self.answer(bucket.failures.pop(0))
                return
            signed = self.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 Credential=someone/")
            _, name, key = unquote(self.path).split("/", 2)
            if signed and name == "lading-log":
                bucket.objects[key] = content
            self.answer(200 if signed else 403)

        def answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("etag", '"1"')
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        variables = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
            "AWS_ACCESS_KEY_ID": "someone",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "here",
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield bucket
        finally:
            server.shutdown()
            thread.join()
