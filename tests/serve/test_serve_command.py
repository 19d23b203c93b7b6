"""``lading serve``: a process of its own, its port, its signals."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lading.artifact import Artifact
from lading.errors import ServerError
from lading.serve.ports import listen
from lading.serve.supervisor import serve
from lading.settings import Settings
from tests.given.live_server import wait_until

ROOT = Path(__file__).parents[2]
SERVE = "import sys; from lading.cli import main; sys.argv[0] = 'lading'; main()"


def lading_serve(artifact: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SERVE, "serve", str(artifact)],
        env={**os.environ, "LADING_HTTP_PORT": "0", "LADING_GRPC_PORT": "0", **environment},
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def process(small: dict[str, Artifact]) -> Iterator[subprocess.Popen[str]]:
    started = lading_serve(small["table"].path, LADING_LANES="1", LADING_MAX_QUEU="2")
    yield started
    started.kill()
    started.communicate()


def until(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(pattern, re.sub(r"\x1b\[[0-9;]*m", "", line)):
            return found
    raise AssertionError(f"the server ended without saying {pattern!r}")


def test_it_warns_of_misspellings_serves_and_ends_with_0(process: subprocess.Popen[str]) -> None:
    until(process, "LADING_MAX_QUEU is not a setting, and has no effect; did you mean LADING_MAX_QUEUE?")
    url = until(process, r"listening\s+url=(http://127\.0\.0\.1:\d+)")[1]
    until(process, "ready .*model=small-table")
    answer = httpx.post(f"{url}/predict", json={"features": [[1, 2, 3, 4]]})
    assert answer.json()["outputs"] == {"total": [[10.0]]}
    process.send_signal(signal.SIGTERM)
    until(process, "stopped")
    assert process.wait(20) == 0


def test_serve_drains_when_interrupted(
    small: dict[str, Artifact], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    answers = []

    def ask_and_interrupt() -> None:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: _ready(url))
        answers.append(httpx.post(f"{url}/predict", json={"features": [[1, 2, 3, 4]]}).status_code)
        os.kill(os.getpid(), signal.SIGINT)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    asking = threading.Thread(target=ask_and_interrupt)
    asking.start()
    try:
        serve(Settings(artifact=small["table"].path, http_port=port, grpc_port=0, lanes=1))
    finally:
        asking.join(20)
        for number, handler in before.items():
            signal.signal(number, handler)
    assert answers == [200]
    assert "stopped" in capfd.readouterr().err


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_a_taken_port_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServerError) as refused:
            listen("127.0.0.1", port, "LADING_HTTP_PORT")
    assert str(refused.value) == (
        f"port {port} of 127.0.0.1 is in use: stop the process that listens there, or choose another port with "
        "LADING_HTTP_PORT (off: none)"
    )


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("setting", ["LADING_HTTP_PORT", "LADING_GRPC_PORT"])
def test_a_server_does_not_start_on_the_port_of_another_one(
    small: dict[str, Artifact], workers: str, setting: str
) -> None:
    """Also where the other one would share its port, which the kernel allows to processes of one user."""
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        port = taken.getsockname()[1]
        process = lading_serve(small["table"].path, LADING_WORKERS=workers, **{setting: str(port)})
        _, said = process.communicate(timeout=20)
    assert process.returncode == 1
    assert re.search(rf"port {port} of 127.0.0.1 (is in use|cannot be opened for gRPC): stop", " ".join(said.split()))


def test_an_address_of_another_machine_is_one_sentence() -> None:
    with pytest.raises(ServerError, match=r"port 0 of 192\.0\.2\.1 cannot be opened: this machine does not"):
        listen("192.0.2.1", 0, "LADING_HTTP_PORT")


def test_a_name_without_an_address_is_one_sentence() -> None:
    with pytest.raises(ServerError, match=r"port 0 of no-such-host\.invalid cannot be opened: "):
        listen("no-such-host.invalid", 0, "LADING_HTTP_PORT")


def test_a_missing_artifact_ends_the_command_with_1_and_a_sentence(tmp_path: Path) -> None:
    process = lading_serve(tmp_path / "nothing")
    _, said = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "is not an artifact: there is no such folder" in " ".join(said.split())
    assert "Traceback" not in said
