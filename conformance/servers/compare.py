"""Run the suite on Lading, KServe's Python server and MLServer, and write docs/conformance.md.

``python -m conformance.servers.compare``; each peer is installed into its own environment below build/conformance.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

import lading
import oip_conformance
from conformance.servers.lading_models import write_models
from conformance.servers.page import page
from oip_conformance.connect import subjects_of
from oip_conformance.runner import Result, run

ROOT = Path(__file__).parents[2]
WORK = ROOT / "build" / "conformance"
PAGE = ROOT / "docs" / "conformance.md"
PEERS = Path(__file__).parent / "peers"
PYTHON = "3.11"
"""A version that all three servers support; MLServer 1.7 has none above 3.12."""
MODELS = ("echo", "total")
START_S = 120.0


@dataclass(frozen=True)
class Peer:
    """Another server."""

    name: str
    requirement: str
    script: str


KSERVE = Peer("KServe Python server", "kserve==0.21.0", "kserve_server.py")
MLSERVER = Peer("MLServer", "mlserver==1.7.1", "mlserver_server.py")


def main() -> None:
    """Check all servers and write the page."""
    WORK.mkdir(parents=True, exist_ok=True)
    results = {f"Lading {lading.__version__}": check(serve_lading)}
    for peer in (KSERVE, MLSERVER):
        python = environment_of(peer)

        def command(http: int, grpc: int, python: Path = python, peer: Peer = peer) -> list[str]:
            return [str(python), str(PEERS / peer.script), str(http), str(grpc)]

        results[f"{peer.name} {peer.requirement.partition('==')[2]}"] = check(command)
    today = datetime.datetime.now(tz=datetime.UTC).date()
    note = f"oip-conformance {oip_conformance.__version__}, {today}, Python {platform.python_version()}"
    PAGE.write_text(page(results, note))
    print(f"wrote {PAGE.relative_to(ROOT)}")


def check(command: object) -> list[Result]:
    """Start a server on free ports, check it, and stop it."""
    assert callable(command)
    http, grpc = free_port(), free_port()
    with running(command(http, grpc), f"http://127.0.0.1:{http}"):
        subjects = subjects_of(f"http://127.0.0.1:{http}", f"127.0.0.1:{grpc}", MODELS, may_reload=True)
        try:
            return run(subjects)
        finally:
            for subject in subjects:
                subject.close()


def serve_lading(http: int, grpc: int) -> list[str]:
    """Pack both models, and serve them."""
    models = WORK / "models"
    models.mkdir(exist_ok=True)
    lading_command = [sys.executable, "-m", "lading"]
    for file in write_models(WORK):
        subprocess.run([*lading_command, "pack", str(file), "--out", str(models / file.stem)], check=True, cwd=WORK)
    return [*lading_command, "serve", "--models", str(models), "--port", str(http), "--grpc-port", str(grpc)]


def environment_of(peer: Peer) -> Path:
    """The interpreter of the peer's own environment, made when it is missing."""
    folder = WORK / peer.requirement.replace("==", "-")
    python = folder / "bin" / "python"
    stamp = folder / "installed"
    if not stamp.exists():
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", PYTHON, str(folder)], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), peer.requirement], check=True)
        stamp.touch()
    return python


@contextlib.contextmanager
def running(command: Sequence[str], url: str) -> Iterator[None]:
    """A server's process, from when both models are ready until the block ends."""
    environment = {**os.environ, "LADING_MODEL_CONTROL": "true"}
    if command[0] != sys.executable:
        environment["PYTHONPATH"] = ""
    log = WORK / f"{Path(command[0]).parts[-3]}.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream, cwd=WORK)
    try:
        end = time.monotonic() + START_S
        while not all(is_ready(f"{url}/v2/models/{model}/ready") for model in MODELS):
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{' '.join(command)} does not start; see {log}")
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def is_ready(url: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    main()
