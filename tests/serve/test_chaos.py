"""What goes wrong in the night: a stop at full load, clients that stop reading, more connections than may be."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from lading.artifact import Artifact
from tests.given.live_server import live_server, wait_until
from tests.given.pictures import Encode
from tests.given.self_signed import self_signed

SERVE = "import sys; from lading.cli import main; sys.argv[0] = 'lading'; main()"
ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def serving(artifact: Path, log: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """``lading serve`` in a process of its own, once it is ready."""
    command = [sys.executable, "-c", SERVE, "serve", str(artifact), "--port", "0", "--grpc-port", "off"]
    environment = {**os.environ, "LADING_LOG_FORMAT": "json", **environment}
    with log.open("wb") as stream:
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=stream)
    try:
        wait_until(lambda: b'"event": "ready"' in log.read_bytes() or process.poll() is not None)
        found = re.search(r"https?://[\d.:]+", log.read_text())
        assert found, log.read_text()
        yield process, found[0]
    finally:
        process.kill()
        process.wait()


def test_a_stop_at_full_load_loses_nothing_that_was_accepted(
    small: dict[str, Artifact], encode: Encode, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    photo = encode()

    def ask(url: str) -> tuple[int, int]:
        answered = refused = 0
        with httpx.Client(base_url=url, timeout=20) as client:
            while True:
                try:
                    code = client.post("/classify", content=photo).status_code
                except httpx.TransportError:
                    # Never accepted: the port is closed, or the connection was closed while it was idle.
                    return answered, refused
                answered += code == 200
                refused += code in (429, 503)
                assert code in (200, 429, 503)

    environment = {"LADING_ACCESS_LOG": "true", "LADING_LANES": "1"}
    with serving(small["colour"].path, log, **environment) as (process, url), ThreadPoolExecutor(12) as pool:
        asking = [pool.submit(ask, url) for _ in range(12)]
        wait_until(lambda: log.read_bytes().count(b'"status": 200') > 300)
        process.send_signal(signal.SIGTERM)
        counts = [one.result(30) for one in asking]
        assert process.wait(20) == 0
    text = log.read_bytes()
    assert sum(answered for answered, _ in counts) == text.count(b'"status": 200')
    assert text.count(b'"status": 5') == text.count(b'"status": 503')
    assert b"Traceback" not in text


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_connections_that_the_kernel_has_accepted_are_answered_when_the_server_stops(
    tls: bool, small: dict[str, Artifact], tmp_path: Path
) -> None:
    body = b'{"features": [[1, 2, 3, 4]]}'
    request = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    settings = {"LADING_MAX_QUEUE": "1000", "LADING_DEADLINE_MS": "60000"}
    context = None
    if tls:
        certificate, key = self_signed(tmp_path)
        settings |= {"LADING_TLS_CERTIFICATE": str(certificate), "LADING_TLS_KEY": str(key)}
        context = ssl.create_default_context(cafile=certificate)
    with serving(small["table"].path, tmp_path / "log", **settings) as (process, url):
        host, port = url.rpartition("/")[2].split(":")
        process.send_signal(signal.SIGSTOP)  # as a machine that has no time for it
        waiting = [socket.create_connection((host, int(port)), timeout=20) for _ in range(100)]
        if context is None:
            for connection in waiting:
                connection.sendall(request)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        if context is not None:

            def secured(connection: socket.socket) -> socket.socket:
                opened = context.wrap_socket(connection, server_hostname="localhost")
                opened.sendall(request)
                return opened

            with ThreadPoolExecutor(20) as pool:
                waiting = list(pool.map(secured, waiting))
        answers = [connection.recv(100) for connection in waiting]
        assert [answer[:12] for answer in answers] == [b"HTTP/1.1 200"] * 100
        for connection in waiting:
            connection.close()
        assert process.wait(20) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))


def test_a_client_that_stops_reading_holds_up_nobody(small: dict[str, Artifact]) -> None:
    rows = b'{"features": [' + b",".join([b"[1, 2, 3, 4]"] * 120) + b"]}"
    with live_server(small["table"], lanes=1) as live:
        host, port = live.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as deaf:
            deaf.setblocking(False)
            head = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(rows)
            sent = 0
            with contextlib.suppress(BlockingIOError):
                while sent < 20_000_000:
                    sent += deaf.send(head + rows)
            assert sent
            for _ in range(20):
                assert live.client.post("/predict", content=rows).status_code == 200
        wait_until(lambda: live.app.engine._pending == 0)


def test_as_many_idle_connections_as_the_limit_allows_are_held_and_the_rest_refused(small: dict[str, Artifact]) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = min(400, soft // 4)
    with live_server(small["table"], max_connections=limit) as live, contextlib.ExitStack() as held:
        host, port = live.url.removeprefix("http://").split(":")
        live.client.get("/livez")
        crowd = [
            held.enter_context(socket.create_connection((host, int(port)), timeout=20)) for _ in range(limit + 114)
        ]
        refused = 0
        for connection in crowd[-40:]:
            refused += connection.recv(100).startswith(b"HTTP/1.1 503")
        assert refused == 40
        assert live.client.get("/livez").status_code == 200


def test_a_removed_artifact_does_not_touch_what_is_served(small: dict[str, Artifact], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(small["table"].path, copy)
    with live_server(artifact=copy, model_control=True) as live:
        shutil.rmtree(copy)
        assert live.client.post("/predict", json={"features": [[1, 2, 3, 4]]}).status_code == 200
        again = live.client.post("/v2/repository/models/small-table/load")
        assert again.status_code == 404
        assert live.client.post("/predict", json={"features": [[1, 2, 3, 4]]}).status_code == 200


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_under_the_log_does_not_stop_the_answers(small: dict[str, Artifact], tmp_path: Path) -> None:
    command = [sys.executable, "-c", SERVE, "serve", str(small["table"].path), "--grpc-port", "off"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "LADING_ACCESS_LOG": "true", "LADING_HTTP_PORT": str(port)}
    with Path("/dev/full").open("wb") as full:
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=full, stdout=full)
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{url}/readyz").status_code == 200
        assert process.poll() is None, "it ended"
        return False

    try:
        wait_until(ready)
        assert httpx.post(f"{url}/predict", json={"features": [[1, 2, 3, 4]]}).status_code == 200
    finally:
        process.terminate()
        process.wait(20)
