"""The HTTP API of a Prometheus that has counted what a test says."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@contextlib.contextmanager
def prometheus_that_counted(figures: Mapping[str, float]) -> Iterator[str]:
    """The address of a Prometheus.

    Args:
        figures: the value of every query that has all words of the key in it. The first one counts, and a query without
            one finds no series. A change is seen at once.
    """

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...

        def do_GET(self) -> None:
            (query,) = parse_qs(urlsplit(self.path).query)["query"]
            found = [value for key, value in figures.items() if all(word in query for word in key.split())][:1]
            result = [{"metric": {}, "value": [0, str(value)]} for value in found]
            body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
