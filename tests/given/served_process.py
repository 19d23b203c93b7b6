"""``lading serve`` in its own process, for tests that end a process or need several."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.given.live_server import wait_until

ROOT = Path(__file__).parents[2]
LADING = (sys.executable, "-c", "import sys; from lading.cli import main; sys.argv[0] = 'lading'; main()")


@dataclass
class ServedProcess:
    """A running server."""

    process: subprocess.Popen[bytes]
    url: str
    grpc: str
    log: Path


@contextlib.contextmanager
def serving(
    artifact: Path,
    log: Path,
    *,
    workers: int = 1,
    files: int = 0,
    program: Sequence[str] = LADING,
    cwd: Path = ROOT,
    **environment: str,
) -> Iterator[ServedProcess]:
    """Serve on free ports, once every worker is ready, until the block ends.

    Args:
        artifact: the artifact to serve.
        log: file for the server's log, as JSON.
        workers: number of processes.
        files: limit of open files; 0 keeps the limit of this process.
        program: the command ``lading``.
        cwd: folder to run it in.
        environment: settings.
    """
    command = [*program, "serve", str(artifact), "--port", "0", "--grpc-port", "0"]
    settings = {"LADING_LOG_FORMAT": "json", "LADING_WORKERS": str(workers), **environment}
    if files:
        command = ["sh", "-c", f'ulimit -n {files} && exec "$@"', "sh", *command]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, env={**os.environ, **settings}, cwd=cwd, stderr=stream)
    try:
        wait_until(lambda: log.read_bytes().count(b'"event": "ready"') >= workers or process.poll() is not None, 60)
        text = log.read_text()
        http, grpc = re.search(r"http://[\d.:]+", text), re.search(r'"address": "([\d.:]+)"', text)
        assert http, text
        assert grpc, text
        yield ServedProcess(process, http[0], grpc[1], log)
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
