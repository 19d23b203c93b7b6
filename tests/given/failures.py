"""What a server shows when something next to the requests fails: a row per failure, and the table of them."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.given.live_server import wait_until
from tests.given.served_process import LADING, ROOT

SETTINGS = {"LADING_LOG_FORMAT": "json", "LADING_LANES": "1", "LADING_DRAIN_S": "2", "LADING_WEDGED_S": "0.2"}
BODY = {"features": [[1, 2, 3, 4]]}


@dataclass
class Failing:
    """A server that something happens to.

    Attributes:
        folder: the test's own.
        artifact: what it serves, a copy.
    """

    folder: Path
    artifact: Path
    process: subprocess.Popen[bytes] = field(init=False)
    body: Mapping[str, object] = field(default_factory=lambda: BODY)
    """Of a request that is well."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """The same, in addition to its timeout."""
    url: str = ""
    grpc: str = ""

    @property
    def log(self) -> str:
        """What it has logged so far, as JSON lines."""
        return (self.folder / "log").read_text()

    def get(self, path: str) -> int:
        """The status of a path."""
        return httpx.get(f"{self.url}{path}", timeout=20).status_code

    def predict(self) -> int:
        """The status of a request that is well."""
        headers = {"x-request-timeout-ms": "1000", **self.headers}
        return httpx.post(f"{self.url}/predict", json=self.body, headers=headers, timeout=20).status_code

    def health(self) -> str:
        """What gRPC's health service says."""
        with grpc.insecure_channel(self.grpc) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=20)
            return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


def nothing(_: Failing) -> None:
    """Nothing happens."""


@dataclass(frozen=True)
class Failure:
    """One row: what happens, and what is shown then.

    Attributes:
        name: of the row.
        livez, readyz, answers: statuses; 0 where the server does not start.
        grpc: ``SERVING``, ``NOT_SERVING``, or empty where the server does not start.
        log: a regular expression that its log matches; empty where nothing is logged.
        exit_code: after SIGTERM, or after the start that failed.
        before: done to the artifact before the start.
        happens: done to the running server.
        settings: of the server, as environment variables; called with the test's folder.
        ready: the server becomes ready before it happens.
        after: done at the end, with the test's folder.
        logged_at_the_end: only SIGTERM brings the line in its log.
        seconds: within which it ends after SIGTERM, on a machine that is not busy.
    """

    name: str
    livez: int
    readyz: int
    grpc: str
    answers: int
    log: str
    exit_code: int
    before: Callable[[Failing], object] = nothing
    happens: Callable[[Failing], object] = nothing
    settings: Callable[[Path], Mapping[str, str]] = lambda _: {}
    ready: bool = True
    after: Callable[[Path], object] = lambda _: None
    logged_at_the_end: bool = False
    seconds: float = 5.0

    @property
    def starts(self) -> bool:
        """Whether the server starts at all."""
        return bool(self.livez)


@contextlib.contextmanager
def failing(row: Failure, folder: Path, artifact: Path) -> Iterator[Failing]:
    """The server of a row, in its own process, once it listens."""
    served = Failing(folder, artifact)
    row.before(served)
    command = [*LADING, "serve", str(artifact), "--port", "0", "--grpc-port", "0"]
    environment = {**os.environ, **SETTINGS, **row.settings(folder)}
    with (folder / "log").open("wb") as stream:
        served.process = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=stream)
    try:
        if row.starts:
            event = '"event": "ready"' if row.ready else '"url": "http'
            workers = int(environment.get("LADING_WORKERS", "1"))
            wait_until(lambda: served.log.count(event) >= workers or served.process.poll() is not None, 60)
            url, address = re.search(r"http://[\d.:]+", served.log), re.search(r'"address": "([\d.:]+)"', served.log)
            assert url, served.log
            assert address, served.log
            served.url, served.grpc = url[0], address[1]
            wait_until(lambda: not row.ready or served.get("/readyz") == 200)
        yield served
    finally:
        served.process.kill()
        served.process.wait()
        row.after(folder)


def table(rows: Sequence[Failure]) -> str:
    """The rows, for the documentation."""
    lines = [
        "| What fails | `/livez` | `/readyz` | gRPC health | a request | the log says | SIGTERM |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        shown = [str(row.livez), str(row.readyz), row.grpc, str(row.answers)] if row.starts else ["-"] * 4
        end = f"exits with {row.exit_code}" if row.starts else f"does not start, exits with {row.exit_code}"
        said = f"`{row.log}`" if row.log else "nothing"
        lines.append(f"| {row.name} | {' | '.join(shown)} | {said} | {end} |")
    return "\n".join(lines) + "\n"
