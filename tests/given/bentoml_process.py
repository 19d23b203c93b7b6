"""``bentoml serve`` as a process of its own."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
from PIL import Image

from tests.given.live_server import wait_until

ROOT = Path(__file__).parents[2]


def bentoml_serve(*arguments: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bentoml", "serve", *arguments],
        cwd=cwd,
        env={**os.environ, "LADING_LANES": "1", "LADING_HTTP_PORT": "0", "LADING_GRPC_PORT": "0", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@contextlib.contextmanager
def served(*arguments: str, cwd: Path, **environment: str) -> Iterator[httpx.Client]:
    """``bentoml serve`` on a free port, until the block ends."""
    port = free_port()
    process = bentoml_serve(*arguments, "--host", "127.0.0.1", "--port", str(port), cwd=cwd, **environment)
    said: list[str] = []
    reading = threading.Thread(target=lambda: said.extend(process.stdout or ()))
    reading.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:

            def answers() -> bool:
                assert process.poll() is None, "".join(said)
                with contextlib.suppress(httpx.TransportError):
                    return client.get("/livez").status_code == 200
                return False

            wait_until(answers, 60)
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        reading.join(20)
        assert process.stdout is not None
        process.stdout.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def red() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (230, 20, 20)).save(buffer, "JPEG")
    return buffer.getvalue()
