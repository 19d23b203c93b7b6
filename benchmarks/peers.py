"""Lading and its peers: how each is installed, started and asked."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

import httpx

from benchmarks import ROOT, WORK
from benchmarks import request_bodies as bodies
from benchmarks.answers import Expected, ask
from benchmarks.bench import Bench
from benchmarks.load import Target
from benchmarks.request_bodies import RequestBody

PEERS = ROOT / "benchmarks" / "peers"
START_S = 90.0

MakeBody = Callable[[], RequestBody]


@dataclass(frozen=True)
class Peer:
    """One server."""

    name: str
    cards: tuple[str, MakeBody] | None
    """Path and body of a photo; ``None``: it does not serve the model."""
    tiny: tuple[str, MakeBody] | None
    """The same of a row of numbers."""
    requirements: tuple[str, ...] = ()
    """Of its own environment; none: this one."""
    command: tuple[str, ...] = ()
    """After the interpreter; the peer's ``server.py`` when empty."""
    environment: tuple[tuple[str, str], ...] = ()
    molecules: tuple[str, MakeBody] | None = None
    """The same of one molecule."""

    def asked(self, model: str) -> tuple[str, MakeBody] | None:
        """Path and body for ``cards``, ``tiny`` or ``molecules``."""
        return {"cards": self.cards, "tiny": self.tiny, "molecules": self.molecules}[model]

    def serves(self, model: str) -> bool:
        """Whether it serves the model."""
        return self.asked(model) is not None


def _versions(*packages: str) -> tuple[str, ...]:
    return tuple(f"{package}=={metadata.version(package)}" for package in packages)


# The same ONNX Runtime as Lading's own, so that it is the servers that are compared.
COMMON = ("numpy", *_versions("onnxruntime", "pillow", "simplejpeg"), "pydantic", "orjson", "uvloop", "httptools")
RAW, V2 = bodies.photo_raw, bodies.photo_v2_json
ROW, ROW_V2 = bodies.row_json, bodies.row_v2_json
MOLECULE, MOLECULE_V2 = ("/predict", bodies.molecule_json), bodies.molecule_v2_json
LADING = Peer("lading", ("/classify", RAW), ("/predict", ROW), molecules=MOLECULE)
LADING_V2 = Peer(
    "lading v2",
    ("/v2/models/cards/infer", bodies.photo_v2_binary),
    ("/v2/models/tiny/infer", ROW_V2),
    molecules=("/v2/models/molecules/infer", MOLECULE_V2),
)
LADING_BENTO = Peer("lading on BentoML", ("/classify", RAW), ("/predict", ROW), molecules=MOLECULE)
FASTAPI_TORCH = Peer(
    "fastapi_torch",
    ("/classify", partial(bodies.photo_form, "file")),
    None,
    (
        *_versions("torch", "torchvision", "safetensors", "opencv-python-headless", "joblib"),
        *("fastapi==0.165.0", "uvicorn==0.54.0", "python-multipart", "rich"),
    ),
)
FASTAPI_ORT = Peer(
    "fastapi_onnxruntime",
    ("/predict", RAW),
    ("/predict", ROW),
    ("fastapi==0.165.0", "uvicorn==0.54.0"),
    molecules=MOLECULE,
)
ALL = (
    LADING,
    LADING_V2,
    LADING_BENTO,
    FASTAPI_TORCH,
    FASTAPI_ORT,
    Peer(
        "bentoml_api",
        ("/predict", partial(bodies.photo_form, "image")),
        ("/predict", ROW),
        ("bentoml==1.4.39",),
        ("-m", "bentoml", "serve", "server:Peer", "--port", "{port}"),
        (("BENTOML_DO_NOT_TRACK", "true"),),
        molecules=MOLECULE,
    ),
    Peer("litserve", ("/predict", bodies.photo_json), ("/predict", ROW), ("litserve==0.2.17",), molecules=MOLECULE),
    Peer(
        "mlserver",
        ("/v2/models/peer/infer", V2),
        ("/v2/models/peer/infer", ROW_V2),
        ("mlserver==1.7.1",),
        molecules=("/v2/models/peer/infer", MOLECULE_V2),
    ),
    Peer(
        "ray_serve",
        ("/", RAW),
        ("/", ROW),
        ("ray[serve]==2.54.0", "protobuf<6"),
        # Its proxy starts on the one core as well, and its replica, a process of its own, imports what the peers share.
        environment=(("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60"), ("PYTHONPATH", f"{ROOT / 'src'}:{PEERS}")),
    ),
    Peer(
        "kserve_python",
        ("/v2/models/peer/infer", V2),
        ("/v2/models/peer/infer", ROW_V2),
        ("kserve==0.21.0",),
        molecules=("/v2/models/peer/infer", MOLECULE_V2),
    ),
)
FRAMEWORKS = ("bentoml_api", "litserve", "mlserver", "ray_serve", "kserve_python")


@functools.cache
def own_environment() -> Path:
    """This interpreter, with what it imports byte-compiled."""
    python = Path(sys.executable)
    compile_packages(python)
    return python


@functools.cache
def peer_named(name: str) -> Peer:
    """One of :data:`ALL`."""
    return next(peer for peer in ALL if peer.name == name)


def environment_of(peer: Peer) -> Path:
    """The interpreter of the peer's own environment, made when it is missing."""
    if not peer.requirements:
        return own_environment()
    folder = WORK / "env" / peer.name
    python = folder / "bin" / "python"
    stamp = folder / "installed.txt"
    wanted = "\n".join([*COMMON, *peer.requirements])
    if not stamp.exists() or stamp.read_text() != wanted:
        beside = Path(sys.executable).with_name("uv")
        uv = str(beside) if beside.exists() else "uv"
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", str(python), *COMMON, *peer.requirements]
        subprocess.run(install, check=True)
        stamp.write_text(wanted)
    compile_packages(python)
    return python


def compile_packages(python: Path) -> None:
    """Byte-compile what an environment imports, as images do: starts would otherwise measure the compiler.

    Where ``PYTHONDONTWRITEBYTECODE`` is set, nothing else leaves bytecode behind.
    """
    folders = [python.parents[1] / "lib", ROOT / "src", ROOT / "benchmarks"]
    # Some packages carry files of another Python, or templates; those that are imported do compile.
    subprocess.run([str(python), "-m", "compileall", "-qq", "-j", "0", *map(str, folders)], check=False)


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
    """A server that was left over would be measured in the new one's place.

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
        return ["-m", "bentoml", "serve", "--port", str(port), "--timeout-keep-alive", "650"]
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
