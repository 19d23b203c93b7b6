"""``lading serve``: one worker in this process, or several processes that share the ports and are restarted.

Why this is not uvicorn's own supervisor: docs/decisions/0021-supervisor.md.
"""

from __future__ import annotations

import gc
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

from lading.errors import LadingError, ServerError, SettingsError
from lading.log import configure_logging
from lading.serve.health import WorkerGroup
from lading.serve.http.app import WRITE_S
from lading.serve.ports import listen, port_error
from lading.serve.start_check import check_start
from lading.serve.telemetry.metrics import SHARED_FOLDER
from lading.serve.worker import end_at_once, run_worker, saying_why
from lading.serve.worker_end import WorkerEnds
from lading.settings import Settings, unknown_variables
from lading.settings.values import Port

log = structlog.get_logger("lading.supervisor")

_MEMORY = Path("/dev/shm")
_PROCESSES = Path("/proc/self")
_LONGEST_PAUSE_S = 30.0
_HOPELESS = 3
"""Workers that may be killed before any has been ready."""
_HEALTHY_AFTER_S = 60.0
"""After a worker that ran this long, the pause before a restart begins at zero again."""


def serve(settings: Settings | None = None) -> None:
    """Serve until SIGINT or SIGTERM, then answer what was accepted and return.

    Raises:
        ArtifactError: an artifact cannot be served.
        ServerError: a port is taken, or the address is not this machine's.
        SettingsError: no artifact is named.
    """
    settings = settings or Settings()
    configure_logging(settings.log_level, settings.log_format)
    for sentence in unknown_variables():
        log.warning(sentence)
    if settings.workers > 1:
        gc.enable()
        supervise(settings)
    else:
        run_worker(settings)
    log.info("stopped")


def supervise(settings: Settings) -> None:
    """Keep ``settings.workers`` workers running until SIGINT or SIGTERM.

    Raises:
        ArtifactError, SettingsError: an artifact cannot be served, or this system cannot share a port.
        ServerError: a port is taken, or a worker failed to start before any worker was ready.
    """
    if not (hasattr(socket, "SO_REUSEPORT") and _PROCESSES.is_dir()):
        raise SettingsError(
            f"LADING_WORKERS={settings.workers}: several workers on one port need Linux; set LADING_WORKERS=1: "
            "each usable CPU has a lane of its own"
        )
    with saying_why():
        check_start(settings)
    # In memory, because workers map their metrics from here: on a full disk the kernel would kill them (SIGBUS).
    folder = Path(tempfile.mkdtemp(prefix="lading-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None))
    os.environ[SHARED_FOLDER] = str(folder)
    reserved: list[socket.socket] = []
    try:
        with saying_why():
            numbers = {
                "http_port": reserve_port(settings.http_host, settings.http_port, "LADING_HTTP_PORT", reserved),
                "grpc_port": reserve_port(settings.http_host, settings.grpc_port, "LADING_GRPC_PORT", reserved),
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
        self._ends = WorkerEnds(group.folder)
        self._pause_s = 0.0
        self._early = 0
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
        until = time.monotonic() + self._settings.drain_s + WRITE_S + 1
        for worker in self._running:
            worker.join(max(0.0, until - time.monotonic()))
            if worker.is_alive():
                log.error("a worker did not stop in time and is killed", pid=worker.pid)
            worker.kill()
        if self._error:
            raise ServerError(self._error)

    def _stop(self, number: int, _: object) -> None:
        if self._stopping:
            for worker in self._running:
                worker.kill()
            end_at_once(number)
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
            if self._group.missing == self._settings.workers:
                # No worker has been ready yet, so the next attempt would fail in the same way.
                self._early += 1
                if error or self._early >= _HOPELESS:
                    how = self._ends.note(worker.pid, worker.exitcode or 0, error, then="the server ends")
                    self._stopping, self._error = True, error or f"{how}, {self._early} times before one was ready"
                    continue
            self._ends.note(worker.pid, worker.exitcode or 0, error, then="it is started again")
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


def reserve_port(host: str, port: Port, setting: str, reserved: list[socket.socket]) -> Port:
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
    reserved.append(shared)
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    # Old connections of the server before this one keep the port for a minute. SO_REUSEADDR is on only while binding:
    # otherwise another server could open the port before a worker listens on it.
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        shared.bind((host, number))
    except OSError as error:
        raise port_error(host, number, setting, error) from None
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return number
