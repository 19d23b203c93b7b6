"""A small HTTP server that answers as a model does, and keeps what it was sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL = {
    **{"name": "recorded", "description": "keeps what it was sent", "version": "1", "variant": "fp32"},
    **{"classify": False, "texts": [], "example": {}, "outputs": []},
}


@dataclass
class RecordingServer:
    """Its address, and the headers of every request so far, by lower-case name."""

    url: str
    headers: list[dict[str, str]] = field(default_factory=list)
    answer: bytes = json.dumps(MODEL).encode()


@contextmanager
def recording_server() -> Iterator[RecordingServer]:
    """Serve on a free port of the loopback address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(200)
            self.send_header("content-length", str(len(server.answer)))
            self.end_headers()
            self.wfile.write(server.answer)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server = RecordingServer(f"http://127.0.0.1:{http.server_port}")
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
