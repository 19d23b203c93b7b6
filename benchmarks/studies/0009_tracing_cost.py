"""What does tracing cost a request? Decision 9: almost nothing while it is off, and sampling bounds it while it is on.

    python -m benchmarks.studies.0009_tracing_cost

Times the endpoint alone, for a model that does not exist, with a collector that accepts every span. Cases take turns,
and the quickest round of each counts.
"""

from __future__ import annotations

import asyncio
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Annotated, Any

import typer

from benchmarks.server.bench import artifact_of
from lading.artifact import Artifact
from lading.serve.http.app import App
from lading.serve.http.endpoint import InferenceEndpoint
from lading.settings import Settings

PARENT = (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
NO_MODEL = {"query_string": b"model=none"}
HEADERS = [(b"host", b"x"), (b"accept", b"*/*"), (b"content-length", b"2"), (b"content-type", b"application/json")]


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"{}"}


async def _send(_: Any) -> None:
    return None


def _endpoint(ratio: float | None) -> InferenceEndpoint:
    settings = Settings(tracing=ratio is not None, trace_ratio=ratio or 0.0)
    endpoint = App(settings, artifacts=[Artifact.load(artifact_of("tiny"))]).endpoint_at("/predict")
    assert endpoint is not None
    return endpoint


async def _nanoseconds(endpoint: InferenceEndpoint, headers: list[tuple[bytes, bytes]], requests: int) -> float:
    begin = time.perf_counter_ns()
    for _ in range(requests):
        scope = {"type": "http", "method": "POST", "path": "/predict", "scheme": "http", "headers": headers} | NO_MODEL
        await endpoint(scope, _receive, _send)
    return (time.perf_counter_ns() - begin) / requests


class _Sink(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


async def _measure(
    cases: dict[str, tuple[InferenceEndpoint, list[tuple[bytes, bytes]]]], rounds: int, requests: int
) -> None:
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, (endpoint, headers) in cases.items():
            taken[name].append(await _nanoseconds(endpoint, headers, requests))
    base = min(taken["off"])
    for name, found in taken.items():
        print(f"{name:34} {min(found):9.0f} ns a request  {min(found) - base:+9.0f}")


def main(
    rounds: Annotated[int, typer.Option(help="turns of each case")] = 40,
    requests: Annotated[int, typer.Option(help="requests in a turn")] = 1000,
) -> None:
    """Measure and print."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Sink) as collector:
        Thread(target=collector.serve_forever, daemon=True).start()
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{collector.server_port}"
        off, some, every = _endpoint(None), _endpoint(0.0), _endpoint(1.0)
        cases = {
            "off": (off, HEADERS),
            "off, the caller sends a trace": (off, [*HEADERS, PARENT]),
            "on, not sampled": (some, HEADERS),
            "on, sampled": (every, HEADERS),
        }
        asyncio.run(_measure(cases, rounds, requests))
        collector.shutdown()


if __name__ == "__main__":
    typer.run(main)
