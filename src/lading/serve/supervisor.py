"""``lading serve`` with several workers: processes that share the ports. A worker that ends is restarted.

Why this is not uvicorn's own supervisor: docs/decisions/0021-supervisor.md.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

import structlog

from lading.artifact import Artifact
from lading.errors import LadingError, ServerError
from lading.log import configure_logging
from lading.serve.engine.artifacts import named_artifacts
from lading.serve.health import WorkerGroup
from lading.serve.metrics import SHARED_FOLDER
from lading.serve.ports import listen, run_worker
from lading.settings import Port, Settings

log = structlog.get_logger("lading.supervisor")

_MEMORY = Path("/dev/shm")
_LONGEST_PAUSE_S = 30.0
_HEALTHY_AFTER_S = 60.0
"""After a worker that ran this long, the pause before a restart begins at zero again."""


def supervise(settings: Settings) -> None:
    """Keep ``settings.workers`` workers running until SIGINT or SIGTERM.

    Raises:
        ArtifactError, SettingsError: an artifact cannot be served.
        ServerError: a port is taken, or a worker failed to start before any worker was ready.
    """
    for path in named_artifacts(settings):
        Artifact.load(path)
    # In memory, because workers map their metrics from here: on a full disk the kernel would kill them (SIGBUS).
    folder = Path(tempfile.mkdtemp(prefix="lading-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None))
    os.environ[SHARED_FOLDER] = str(folder)
    reserved: list[socket.socket] = []
    try:
        numbers = {
            "http_port": _reserve(settings.http_host, settings.http_port, "LADING_HTTP_PORT", reserved),
            "grpc_port": _reserve(settings.http_host, settings.grpc_port, "LADING_GRPC_PORT", reserved),
        }
        _Workers(settings.model_copy(update=numbers), WorkerGroup(folder, settings.workers)).run()
    finally:
        for one in reserved:
            one.close()
        shutil.rmtree(folder, ignore_errors=True)


class _Workers:
    """The worker processes, and the loop that restarts them."""

    def __init__(self, settings: Settings, group: WorkerGroup) -> None:
        self._settings = settings
        self._group = group
        self._running: dict[SpawnProcess, tuple[float, Connection]] = {}
        """Start time of each worker on ``time.monotonic``, and where it sends the error that kept it from starting."""
        self._pause_s = 0.0
        self._woken, self._wake = socket.socketpair()
        self._stopping = False
        self._error = ""

    def run(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        for _ in range(self._settings.workers):
            self._start_one()
        while not self._stopping:
            wait([*(worker.sentinel for worker in self._running), self._woken])
            self._replace()
        for worker in self._running:
            worker.terminate()
        until = time.monotonic() + self._settings.drain_s + 5
        for worker in self._running:
            worker.join(max(0.0, until - time.monotonic()))
            worker.kill()
        if self._error:
            raise ServerError(self._error)

    def _stop(self, *_: object) -> None:
        self._stopping = True
        self._wake.send(b"\0")

    def _start_one(self) -> None:
        # Spawned, not forked: threads of gRPC and ONNX Runtime do not survive a fork.
        context = multiprocessing.get_context("spawn")
        failure, report = context.Pipe(duplex=False)
        worker = context.Process(target=_work, args=(self._settings, report))
        worker.start()
        report.close()
        self._running[worker] = (time.monotonic(), failure)

    def _replace(self) -> None:
        ended = [worker for worker in self._running if not worker.is_alive()]
        for worker in ended:
            began, failure = self._running.pop(worker)
            assert worker.pid is not None
            self._group.forget(worker.pid)
            if self._stopping:
                continue
            error = _received(failure)
            if error and self._group.missing == self._settings.workers:
                # No worker has been ready yet, so the next attempt would fail in the same way.
                self._stopping, self._error = True, error
                continue
            log.error("a worker ended and is started again", pid=worker.pid, exit_code=worker.exitcode, error=error)
            lasted = time.monotonic() - began > _HEALTHY_AFTER_S
            self._pause_s = 0.0 if lasted else min(_LONGEST_PAUSE_S, self._pause_s * 2)
            wait([self._woken], self._pause_s)
            self._pause_s = self._pause_s or 0.5
            if not self._stopping:
                self._start_one()


def _received(failure: Connection) -> str:
    """The error that an ended worker sent; empty if it sent none."""
    with failure:
        try:
            return str(failure.recv())
        except EOFError:
            return ""


def _work(settings: Settings, failure: Connection) -> None:
    """Run one worker until it is stopped or its parent process ends."""
    configure_logging(settings.log_level, settings.log_format)
    parent = multiprocessing.parent_process()
    assert parent is not None
    try:
        run_worker(settings, parent.sentinel)
    except LadingError as error:
        failure.send(str(error))
        sys.exit(error.exit_code)


def _reserve(host: str, port: Port, setting: str, reserved: list[socket.socket]) -> Port:
    """Reserve a port for the workers: bound here, never listened on. Each worker binds it again and listens.

    Raises:
        ServerError: the port is taken, or the address is not this machine's.
    """
    if port == "off":
        return port
    # First without SO_REUSEPORT, which fails if another server's workers already share the port.
    number: int = port or 0
    with listen(host, number, setting) as alone:
        number = alone.getsockname()[1]
        family = alone.family
    shared = socket.socket(family, socket.SOCK_STREAM)
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    shared.bind((host, number))
    reserved.append(shared)
    return number
