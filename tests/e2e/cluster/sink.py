"""Runs in a pod: an S3 bucket and an OTLP collector that keep what they get, with Python's own library alone."""

import base64
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

objects: dict[str, str] = {}
spans: list[str] = []


def listing(keys: Iterable[str], prefix: str, delimiter: str) -> bytes:
    """The answer to ListObjectsV2."""
    found, folders = [], set()
    for key in sorted(key for key in keys if key.startswith(prefix)):
        head, cut, _ = key[len(prefix) :].partition(delimiter or "\0")
        if cut:
            folders.add(f"{prefix}{head}{cut}")
        else:
            found.append(key)
    written = f"<LastModified>{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
    rows = [f'<Contents><Key>{escape(key)}</Key>{written}<ETag>"1"</ETag><Size>1</Size></Contents>' for key in found]
    rows += [f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in sorted(folders)]
    return f"<ListBucketResult><IsTruncated>false</IsTruncated>{''.join(rows)}</ListBucketResult>".encode()


class Sink(BaseHTTPRequestHandler):
    """``PUT /BUCKET/KEY``, ``GET`` of it and of a list, and ``POST /v1/traces``; ``GET /kept`` returns all of it."""

    def do_PUT(self) -> None:
        if self.signed():
            objects[unquote(self.path).split("/", 2)[2]] = base64.b64encode(self.body()).decode()
        self.answer(200 if self.signed() else 403)

    def do_POST(self) -> None:
        if self.path == "/v1/traces":
            spans.append(base64.b64encode(self.body()).decode())
        self.answer(200 if self.path == "/v1/traces" else 404)

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query, key = dict(parse_qsl(parts.query)), unquote(parts.path).lstrip("/").partition("/")[2]
        if parts.path == "/kept":
            self.answer(200, json.dumps({"objects": objects, "spans": spans}).encode())
        elif not self.signed():
            self.answer(403)
        elif "list-type" in query:
            self.answer(200, listing([*objects], query.get("prefix", ""), query.get("delimiter", "")))
        elif key in objects:
            self.answer(200, base64.b64decode(objects[key]))
        else:
            self.answer(404)

    def signed(self) -> bool:
        return self.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 Credential=someone/")

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["content-length"]))

    def answer(self, status: int, content: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("etag", '"1"')
        self.send_header("last-modified", formatdate(usegmt=True))
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("0.0.0.0", 9000), Sink).serve_forever()
