"""A small S3 endpoint on this machine: keeps, lists and returns the objects that are put, and can fail."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest


@dataclass
class S3Bucket:
    """The objects of the bucket ``lading-log`` by key, and the answers that come before any success."""

    objects: dict[str, bytes] = field(default_factory=dict)
    failures: list[int] = field(default_factory=list)
    """HTTP status codes for the next requests, in this order."""
    lost_answers: list[int] = field(default_factory=list)
    """The same, for requests that are stored all the same."""
    open: threading.Event = field(default_factory=threading.Event)
    """While it is cleared, no request is answered."""
    arrived: threading.Event = field(default_factory=threading.Event)
    """A request has come."""

    def __post_init__(self) -> None:
        self.open.set()


def listing(keys: Iterable[str], prefix: str, delimiter: str) -> bytes:
    """The answer to ListObjectsV2."""
    found, prefixes = [], set()
    for key in sorted(key for key in keys if key.startswith(prefix)):
        head, cut, _ = key.removeprefix(prefix).partition(delimiter or "\0")
        if cut:
            prefixes.add(f"{prefix}{head}{cut}")
        else:
            found.append(key)
    written = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.000Z}"
    objects = "".join(
        f'<Contents><Key>{key}</Key><LastModified>{written}</LastModified><ETag>"1"</ETag><Size>1</Size></Contents>'
        for key in found
    )
    folders = "".join(f"<CommonPrefixes><Prefix>{one}</Prefix></CommonPrefixes>" for one in sorted(prefixes))
    return f"<ListBucketResult><IsTruncated>false</IsTruncated>{objects}{folders}</ListBucketResult>".encode()


@contextmanager
def s3_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Bucket]:
    """Listen until the block ends, and name the endpoint in the variables that S3 clients read."""
    bucket = S3Bucket()

    class Endpoint(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            bucket.arrived.set()
            bucket.open.wait()
            if bucket.failures:
                self.answer(bucket.failures.pop(0))
                return
            signed = self.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 Credential=someone/")
            _, name, key = unquote(self.path).split("/", 2)
            if signed and name == "lading-log":
                bucket.objects[key] = content
            self.answer(bucket.lost_answers.pop(0) if bucket.lost_answers else 200 if signed else 403)

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            _, _, key = unquote(parts.path).lstrip("/").partition("/")
            query = dict(parse_qsl(parts.query))
            if bucket.failures:
                self.answer(bucket.failures.pop(0))
            elif "list-type" in query:
                self.answer(200, listing(bucket.objects, query.get("prefix", ""), query.get("delimiter", "")))
            elif key in bucket.objects:
                self.answer(200, bucket.objects[key])
            else:
                self.answer(404)

        def answer(self, status: int, content: bytes = b"") -> None:
            with suppress(ConnectionError):  # the client may have given up
                self.send_response(status)
                self.send_header("etag", '"1"')
                self.send_header("last-modified", formatdate(usegmt=True))
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                self.wfile.flush()

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
            bucket.open.set()
            server.shutdown()
            thread.join()
