"""A peer while it runs: started on its cores, waited for, asked, and stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks import ROOT, WORK
from benchmarks.server.answers import Expected, ask
from benchmarks.server.bench import Bench
from benchmarks.server.load import Target
from benchmarks.server.peer_environment import environment_of
from benchmarks.server.peer_list import LADING_BENTO, PEERS, Peer
from benchmarks.server.request_bodies import RequestBody

START_S = 90.0


@dataclass
class Running:
    """A peer that answers."""

    target: Target
    pid: int
    start_s: float
    """From its start to its first right answer."""


@contextmanager
def serving(bench: Bench, peer: Peer, port: int, **settings: str) -> Iterator[Running]:
    """Start a peer pinned to its cores, and stop it when the block ends.

    Args:
        bench: the model, and the cores that it may run on.
        peer: what to start.
        port: that it listens on.
        settings: environment variables that differ.

    Raises:
        RuntimeError: the port is in use, or it does not answer rightly within a minute and a half; its log is named.
    """
    python = environment_of(peer)
    refuse_taken(port)
    target = target_of(peer, bench.model, port)
    log = WORK / "log" / f"{peer.name.replace(' ', '-')}-{bench.model}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    variables = os.environ | {
        "BENCH_ARTIFACT": str(bench.artifact.resolve()),
        "BENCH_PORT": str(port),
        "BENCH_MODEL": bench.model,
        "BENCH_LANES": str(len(bench.servers)),
        "LADING_ARTIFACT": str(bench.artifact.resolve()),
        "LADING_HTTP_PORT": "off" if peer is LADING_BENTO else str(port),
        "LADING_GRPC_PORT": "off",
        "PYTHONPATH": str(ROOT / "src"),
        **dict(peer.environment),
        **settings,
    }
    begin = time.perf_counter()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [str(python), *_command(peer, port)],
            cwd=PEERS / peer.name if peer.name == "bentoml_api" else ROOT,
            env=variables,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, bench.servers),  # noqa: PLW1509 - no threads here
        )
    try:
        _wait(process, target, bench.expected, log)
        yield Running(target, process.pid, time.perf_counter() - begin)
    finally:
        _stop(process)


def refuse_taken(port: int) -> None:
    """Check for a leftover server, which would be measured instead of the new one.

    Raises:
        RuntimeError: something listens on the port.
    """
    with socket.socket() as asking:
        if asking.connect_ex(("127.0.0.1", port)) == 0:
            raise RuntimeError(f"port {port} is in use: stop what listens there (ss -ltnp 'sport = :{port}')")


def target_of(peer: Peer, model: str, port: int) -> Target:
    """The one request that is repeated."""
    asked = peer.asked(model)
    if asked is None:
        raise ValueError(f"{peer.name} does not serve {model}")
    path, make = asked
    return target(f"http://127.0.0.1:{port}{path}", make(), f"{peer.name.replace(' ', '-')}-{model}")


def target(url: str, body: RequestBody, name: str) -> Target:
    """What the load generator is given: a URL, and a file of that name with the body."""
    folder = WORK / "body"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_bytes(body.content)
    return Target(url, file, body.content_type, body.headers)


def _command(peer: Peer, port: int) -> list[str]:
    if peer is LADING_BENTO:
        return ["-m", "bentoml", "serve", "--port", str(port)]
    if peer.name.startswith("lading"):
        return ["-m", "lading", "serve"]
    if peer.command:
        return [word.format(port=port) for word in peer.command]
    return [str(PEERS / peer.name / "server.py")]


def _wait(process: subprocess.Popen[bytes], target: Target, expected: Expected, log: Path) -> None:
    end = time.monotonic() + START_S
    problem = ""
    with httpx.Client(timeout=10) as client:
        while time.monotonic() < end:
            if process.poll() is not None:
                raise RuntimeError(f"it ended: {log}")
            try:
                status = ask(target, expected, client)
            except httpx.TransportError as error:
                problem = str(error)
            else:
                if status == httpx.codes.OK:
                    return
                problem = f"status {status}"
            time.sleep(0.02)
    raise RuntimeError(f"it does not answer ({log}): {problem}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the whole group: several peers start workers of their own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(20)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
